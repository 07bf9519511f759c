// The lookup tables of routing and of bearer tokens: all their values are checked when they
// are loaded, so that no mail is routed by an entry that nobody understands.
#pragma once

#include <cstdint>

#include "engine/config/diagnostics.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::config {

// `port` is smtp_tcp_port's. Values: transport:nexthop; as relayhost or DUNNO;
// transport:nexthop with a transport or DUNNO. Each bad one is an error at its line.
void CheckTransportTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                         uint16_t port, Diagnostics* diagnostics);
void CheckRelayhostTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                         uint16_t port, Diagnostics* diagnostics);
// Where bearer tokens come from: file:/path or command:/path arguments.
void CheckTokenTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                     Diagnostics* diagnostics);
void CheckDefaultTransportTable(const tables::TableList& tables,
                                const tables::TableLoadOptions& options, uint16_t port,
                                Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
