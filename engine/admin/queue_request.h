// What an administrator asks of the queue, as JSON says it, and which messages are meant.
// Pure; any thread. A member that is not known or not of its type is refused: a selector
// that was misspelt must not select everything.
//
//   {"command": VERB, selectors…, options…}
//
// Selectors (all that are given must fit): "ids": [ID…]; "all": true; "sender",
// "recipient": "user@domain" or "@domain", "<>" for the null sender; "nexthop"; "class":
// "urgent" | "normal" | "bulk"; "tenant"; "state": "active" | "deferred" | "hold";
// "older_than", "younger_than": seconds.
// Options: "dry_run", "verbose": true; "reason": TEXT.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/queue_id.h"
#include "engine/shard_operations.h"
#include "queue/store.h"

namespace mailrace::engine {

struct Selector {
  bool all = false;
  std::vector<QueueId> ids;  // Ascending, each once.
  std::optional<std::string> sender;
  std::optional<std::string> recipient;
  std::optional<std::string> nexthop;
  std::optional<uint8_t> priority;
  std::optional<std::string> tenant;
  std::optional<JobFacts::State> state;
  std::optional<absl::Duration> older_than;
  std::optional<absl::Duration> younger_than;

  // Nothing says which messages.
  bool empty() const;
  // Every message, if any.
  bool without_conditions() const;
  // By what the store knows. The recipients that count are those still owed.
  bool FitsMessage(const queue::RecoveredMessage& message, absl::Time now) const;
  // By what the message's jobs are doing: one job must fit in both nexthop and state.
  bool FitsJobs(const std::vector<JobFacts>& jobs) const;
};

struct QueueRequest {
  enum class Verb {
    kList,
    kShow,
    kExport,
    kHold,
    kRelease,
    kFlush,
    kRemove,
    kBounce,
    kSuspend,
    kResume,
  };
  Verb verb = Verb::kList;
  Selector selector;
  bool dry_run = false;
  bool verbose = false;  // One line for each message that was changed, too.
  std::string reason;    // Printable; of bounce and suspend.

  // As Operation's; nothing for the verbs that only look and for destinations.
  std::optional<Operation::Kind> operation() const;
};

// `json` is the whole request. Unimplemented: no verb of the queue. InvalidArgument: its
// text is for the administrator.
absl::StatusOr<QueueRequest> ParseQueueRequest(std::string_view json);

}  // namespace mailrace::engine
