// From a message as the store has it to the jobs that it still owes: used at start, and
// whenever parked mail comes back into memory. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/queue_id.h"
#include "engine/settings.h"
#include "queue/store.h"

namespace mailrace::engine {

// What one message owes one nexthop, without the message: that is read when it is tried.
struct RecoveredJob {
  QueueId id;
  std::string nexthop;
  uint32_t recipients = 0;
  uint8_t priority = 1;
  std::string tenant;
  bool held = false;
  bool tried = false;       // Deferred at least once.
  absl::Time next_attempt;  // Past: due now.
};

// Adds to `jobs` one for each nexthop of the recipients that are still owed, as `settings`
// route them, in the order of the recipients.
void AppendJobs(const queue::RecoveredMessage& message, const Settings& settings,
                std::vector<RecoveredJob>* jobs);
// The same of a message to which nothing has happened yet.
void AppendJobs(const queue::Envelope& envelope, const Settings& settings,
                std::vector<RecoveredJob>* jobs);

}  // namespace mailrace::engine
