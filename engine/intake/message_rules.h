// Class and tenant of a message that comes in: by its header field, else by a table
// (submission user, sender, @domain, listener), else by default. Immutable after loading;
// any shard.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/socket_address.h"
#include "engine/tables/lookup_table.h"
#include "queue/message.h"

namespace mailrace::engine {

struct MessageRules {
  std::string class_header;   // message_class_header; empty: none.
  std::string tenant_header;  // message_tenant_header; empty: none.
  bool keep_headers = false;  // steering_headers_keep
  uint8_t default_priority = 1;
  // Null or empty: none. Their values are valid (engine/config/class_tables.h).
  std::shared_ptr<const tables::TableList> classes;
  std::shared_ptr<const tables::TableList> tenants;

  bool has_headers() const { return !class_header.empty() || !tenant_header.empty(); }

  // What the message says of itself; empty: nothing.
  struct Labels {
    std::string_view message_class;
    std::string_view tenant;
  };
  // Sets priority and tenant of *envelope, whose submitter and reverse-path are known.
  // `listener`: where the client connected to. Returns what is wrong with the labels,
  // which then count as absent; empty: nothing.
  std::string Apply(const Labels& labels, const SocketAddress& listener,
                    queue::Envelope* envelope) const;
};

}  // namespace mailrace::engine
