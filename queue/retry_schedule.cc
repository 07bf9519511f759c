#include "queue/retry_schedule.h"

#include <algorithm>

namespace mailrace::queue {

namespace {

absl::Duration Age(absl::Time arrival, absl::Time now) {
  return std::max(now - arrival, absl::ZeroDuration());
}

}  // namespace

absl::Time RetrySchedule::NextAttempt(absl::Time arrival, absl::Time now) const {
  // Not std::clamp: it must hold whatever is configured, the maximum winning.
  return now + std::min(std::max(Age(arrival, now), minimal_backoff), maximal_backoff);
}

absl::Time RetrySchedule::Bounded(absl::Time next_attempt, absl::Time now) const {
  return std::max(now, std::min(next_attempt, now + maximal_backoff));
}

bool RetrySchedule::Expired(absl::Time arrival, absl::Time now, bool null_reverse_path) const {
  return Age(arrival, now) >= (null_reverse_path ? bounce_lifetime : lifetime);
}

absl::Time RetrySchedule::Expiry(absl::Time arrival, bool null_reverse_path) const {
  return arrival + (null_reverse_path ? bounce_lifetime : lifetime);
}

}  // namespace mailrace::queue
