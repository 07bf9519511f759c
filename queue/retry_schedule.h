// When a deferred message is tried again, by Postfix's rule: the message's age, kept
// between two bounds; and when it is given up.
#pragma once

#include "absl/time/time.h"

namespace mailrace::queue {

struct RetrySchedule {
  absl::Duration minimal_backoff = absl::Seconds(300);   // minimal_backoff_time
  absl::Duration maximal_backoff = absl::Seconds(4000);  // maximal_backoff_time
  absl::Duration lifetime = absl::Hours(5 * 24);         // maximal_queue_lifetime
  absl::Duration bounce_lifetime = absl::Hours(5 * 24);  // bounce_queue_lifetime

  // now + clamp(now - arrival, minimal, maximal). A clock that went back counts as age 0.
  absl::Time NextAttempt(absl::Time arrival, absl::Time now) const;
  bool Expired(absl::Time arrival, absl::Time now, bool null_reverse_path) const;
};

}  // namespace mailrace::queue
