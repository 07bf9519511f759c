// When a deferred message is tried again, by Postfix's rule: the message's age, kept
// between two bounds; and when it is given up. Pure; wall-clock times, since they
// outlive the process.
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

  // A time that was recorded earlier, perhaps by a clock that has been set since: kept
  // within [now, now + maximal], so that a jump can neither strand a message nor make it
  // due twice.
  absl::Time Bounded(absl::Time next_attempt, absl::Time now) const;

  // The lifetime is over: the message is given up after the attempt that just failed. A
  // lifetime of 0 allows one attempt.
  bool Expired(absl::Time arrival, absl::Time now, bool null_reverse_path) const;

  // When it will be given up: Will-Retry-Until of a delay notice (RFC 3464 2.3.9).
  absl::Time Expiry(absl::Time arrival, bool null_reverse_path) const;
};

}  // namespace mailrace::queue
