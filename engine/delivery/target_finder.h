// From a nexthop to addresses: MX and address lookups, and what their failures mean for
// the mail (RFC 5321 5.1, RFC 7505, Postfix's smtp_addr.c).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/task.h"
#include "engine/config/relayhost.h"
#include "engine/delivery/target_list.h"
#include "engine/outcome.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

struct FoundTargets {
  std::vector<Target> targets;     // In the order to try.
  std::optional<Trouble> trouble;  // If there are none.
  bool permanent = false;          // Trying again would not help.
  // We are an exchanger of it: only better ones were left, and no fallback is for it.
  bool self = false;
};

// `settings` are the session's own: a reload meanwhile replaces the shard's.
Task<FoundTargets> FindTargets(ShardContext* context, std::shared_ptr<const Settings> settings,
                               config::Nexthop nexthop);

}  // namespace mailrace::engine
