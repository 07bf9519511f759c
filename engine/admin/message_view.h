// A queued message as administrators see it: what the store knows of it, joined with what
// its jobs are doing. Pure; any thread. Member names are those of Postfix's `postqueue -j`
// where the same thing is meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "engine/shard_operations.h"
#include "nlohmann/json_fwd.hpp"
#include "queue/store.h"

namespace mailrace::engine {

struct MessageView {
  queue::RecoveredMessage message;
  std::vector<JobFacts> jobs;  // None: the engine is not running, or about to take it up.
  // Which job each recipient belongs to, by its index; SIZE_MAX: none.
  std::vector<size_t> job_of;
};

// "active", "deferred" or "hold": active if any job is, held if all are.
std::string StateName(const MessageView& view);

// What became of a recipient: "pending", "delivered", "failed", "expired"; "final" where an
// older release did not write down which.
std::string_view RecipientState(const queue::RecoveredMessage& message, uint32_t recipient);

// For list: the recipients that are still owed.
//   queue_name, queue_id, arrival_time, message_size, forced_expire, sender ("MAILER-DAEMON"
//   for the null one), recipients: [{address, delay_reason, nexthop}]; and message_id,
//   class, tenant, submitter, attempts, next_attempt_time (0: not by itself).
nlohmann::json ListJson(const MessageView& view, absl::Time now);

// For show: all recipients with what became of them, the attempts, and why it waits.
//   besides those of list: recipients[].state ("pending", "delivered", "failed",
//   "expired"), timeline: [{time, event, …}], waits: [{nexthop, state, reason, until}]
nlohmann::json ShowJson(const MessageView& view, absl::Time now);

// One line, without its end. Octets that are no UTF-8 are replaced.
std::string LineOf(const nlohmann::json& json);

}  // namespace mailrace::engine
