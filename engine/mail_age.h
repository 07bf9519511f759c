// How long mail has been in the queue, whatever was done to the wall clock meanwhile
// (reliability.md 5.3: nothing is given up because a clock was set). Lives on one shard.
//
// A stamp of the wall clock is only as good as the clock was when it was taken. So each
// time the clock is found to have been set, an era ends: messages with ids from before
// keep the offset between wall and monotonic clock under which their arrival was stamped,
// and their age goes on by the monotonic clock. Time that the host slept counts as set:
// nobody could have tried the mail then.
//
// Over a restart only the stamps are left. One that makes the mail older than its
// lifetime by more than a day, or as much younger than nothing, comes from a clock that
// was wrong or from a host that was off: its mail counts from this start, so that it is
// tried for a whole lifetime more rather than given up at the first trouble.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logger.h"
#include "engine/queue_id_source.h"
#include "queue/message.h"
#include "queue/retry_schedule.h"

namespace mailrace::engine {

class MailAge {
 public:
  // Less is how NTP steers a clock: ages follow it.
  static constexpr absl::Duration kJumpLeast = absl::Minutes(1);
  // What a restart believes: how far mail found at start may be beyond its lifetime.
  static constexpr absl::Duration kRestartSlack = absl::Hours(24);

  // `ids` gives this shard's. `highest_id`: of the store at start; what has an id below was
  // found there. `logger` is told of jumps, if it is not null. All borrowed.
  MailAge(const Clock* clock, const QueueIdSource* ids, uint64_t highest_id, Logger* logger);

  // Looks at the clocks. Call before each new id, so that a jump comes between two ids.
  void Look();

  // Looks, too. Never negative. `schedule` knows the mail's lifetime.
  absl::Duration Age(const queue::Envelope& envelope, const queue::RetrySchedule& schedule);
  // The same as a point on today's wall clock: for rules that take an arrival.
  absl::Time Arrival(const queue::Envelope& envelope, const queue::RetrySchedule& schedule);
  // Mail with this id or a higher one has not been here for `lifetime`. Of the others some
  // may have.
  QueueId YoungerFrom(absl::Duration lifetime);
  // The lifetime is over: to be given up after the attempt that just failed.
  bool Expired(const queue::Envelope& envelope, const queue::RetrySchedule& schedule);

 private:
  // Ids from `first_id` to the next era's were given under `offset`.
  struct Era {
    uint64_t first_id = 0;
    MonoTime begin;
    absl::Duration offset;  // Wall clock minus monotonic, as far as it was steered.
    absl::Duration offset_at_begin;
  };
  // A clock that jumps all the time merges its oldest eras.
  static constexpr size_t kErasMax = 64;
  absl::Duration Offset() const;

  const Clock* const clock_;
  const QueueIdSource* const ids_;
  const uint64_t highest_id_;
  Logger* const logger_;
  const MonoTime start_;
  const absl::Time wall_at_start_;
  std::vector<Era> eras_;  // Never empty.
};

}  // namespace mailrace::engine
