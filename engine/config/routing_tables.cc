#include "engine/config/routing_tables.h"

#include <string>
#include <string_view>

#include "base/text.h"
#include "engine/config/relayhost.h"
#include "engine/config/table_values.h"
#include "engine/config/transport.h"

namespace mailrace::engine::config {
namespace {

std::string Words(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

void CheckTransportTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                         uint16_t port, Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      [port](std::string_view value) { return Words(ParseTransport(value, port).status()); },
      diagnostics);
}

void CheckTokenTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                     Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      [](std::string_view value) {
        for (const std::string_view kind : {"file:/", "command:/"}) {
          if (value.starts_with(kind)) return std::string();
        }
        return std::string("expected file:/path or command:/path arguments");
      },
      diagnostics);
}

void CheckRelayhostTable(const tables::TableList& tables, const tables::TableLoadOptions& options,
                         uint16_t port, Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      [port](std::string_view value) {
        if (EqualsIgnoreCase(value, "DUNNO")) return std::string();
        const auto nexthops = ParseNexthops(value, port);
        if (nexthops.ok() && nexthops->empty()) return std::string("names no host");
        return Words(nexthops.status());
      },
      diagnostics);
}

void CheckDefaultTransportTable(const tables::TableList& tables,
                                const tables::TableLoadOptions& options, uint16_t port,
                                Diagnostics* diagnostics) {
  CheckTableValues(
      tables, options,
      [port](std::string_view value) {
        if (EqualsIgnoreCase(value, "DUNNO")) return std::string();
        const auto spec = ParseTransport(value, port);
        if (spec.ok() && !spec->transport) return std::string("null transport is not allowed");
        return Words(spec.status());
      },
      diagnostics);
}

}  // namespace mailrace::engine::config
