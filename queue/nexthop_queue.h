// Messages owed to one nexthop, and how hard we may push it. The concurrency window
// follows Postfix's SCHEDULER_README: slow start, feedback with hysteresis, dead after
// enough failed cohorts. Lives on the shard that owns the nexthop; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "queue/fair_line.h"
#include "queue/feedback.h"
#include "queue/job.h"

namespace mailrace::queue {

class Scheduler;

struct DestinationLimits {
  int initial_concurrency = 5;  // initial_destination_concurrency
  // default_destination_concurrency_limit; 0: none.
  int concurrency_limit = 20;
  int recipient_limit = 50;  // default_destination_recipient_limit; 0: none.
  // default_destination_concurrency_failed_cohort_limit; 0: never dead.
  int failed_cohort_limit = 1;
  // default_destination_rate_delay: if set, a nexthop gets one message at a time and
  // deliveries start at least this far apart.
  absl::Duration rate_delay;
  // default_destination_concurrency_{positive,negative}_feedback. Postfix's default is
  // "1"; its README advises "1/concurrency" for a smoother window.
  Feedback positive_feedback;
  Feedback negative_feedback;

  // What shard number `shard` of `shards` may do, so that all together keep the limits:
  // sessions are shared out to the last one, and a rate delay is as many times as long.
  // A limit below the number of shards cannot be kept, for each needs one session: the
  // engine starts no more shards than ShardsMax().
  DestinationLimits Share(int shard, int shards) const;
  // Shards that can keep these limits; INT_MAX: any number.
  int ShardsMax() const;
};

// States: open -> suspended (dead destination, or the operator's wish, until a time)
// -> open. Owned by the Scheduler; the pointer is good while the nexthop has a job or a
// pin, and after that until many others have become idle since.
class NexthopQueue {
 public:
  NexthopQueue(const NexthopQueue&) = delete;
  NexthopQueue& operator=(const NexthopQueue&) = delete;

  const std::string& name() const { return name_; }

  // The next ready job of the most urgent class, now in flight; null if none is ready or
  // the nexthop is suspended or rate-limited (on_ready tells when that ends). The caller
  // owns the outcome: it must call Scheduler::Finish, Defer or Release for it. Within a
  // class tenants share by weight, and a tenant's oldest goes first (queue/fair_line.h).
  //
  // No class starves: while a less urgent class waits, at most kUrgencyRun takes in a row
  // pass it by. So a normal job at the head of its line is passed by at most 8 urgent
  // ones, and a bulk job by at most 80 others. The other way round, of n urgent jobs the
  // last is taken at the latest by take n + ceil(n / 8).
  static constexpr int kUrgencyRun = 8;
  Job* Take(MonoTime now);
  // A job of a more urgent class than `priority` is ready: worth to be let in between two
  // transactions of one message.
  bool MoreUrgentReady(uint8_t priority) const;
  size_t ready() const { return ready_count_; }
  size_t in_flight() const { return in_flight_; }
  size_t jobs() const { return jobs_; }  // In any state.

  // Sessions that the window allows now; 0 while the destination is dead.
  int window() const;
  // Feedback on it: a session that delivered; a session that could not be made or broke.
  // A delivery also brings a dead destination back to life.
  void SessionSucceeded();
  // Returns true if this made the destination dead (failed cohorts reached the limit):
  // the caller suspends it, once for all the sessions that fail together.
  bool SessionFailed();
  // The same of a session that could not be made, told while its job is still in flight. What
  // there is to send is the whole cohort, if it is less than the window: one message would
  // otherwise be tried as often as the window is wide, at once.
  bool SetupFailed();

  // No Take until `until`; ready jobs stay ready and are not charged. The last call
  // counts, but a suspension without end (MonoTime::Infinite(): the operator's) is ended
  // by Resume() alone.
  void Suspend(MonoTime until, std::string reason);
  // Calls on_ready if jobs are ready.
  void Resume();
  bool suspended(MonoTime now) const { return now < suspended_until_; }
  MonoTime suspended_until() const { return suspended_until_; }
  const std::string& suspend_reason() const { return suspend_reason_; }

  // Keeps the pointer good although the nexthop has no jobs, as for its open sessions.
  // Calls nest.
  void Pin();
  void Unpin();

 private:
  friend class Scheduler;
  static constexpr size_t kNowhere = SIZE_MAX;

  NexthopQueue(std::string name, Scheduler* scheduler);
  const DestinationLimits& limits() const;
  bool RateLimited(MonoTime now) const;
  // When a Take that the rate delay refuses should be tried again; Infinite if another
  // job must end first.
  MonoTime RateWake() const;
  int PickClass();
  void Append(Job* job);
  void Prepend(Job* job);
  void Unlink(Job* job);
  // Suspension over, window anew: no call-back.
  void Reopen();
  void StartWindow(size_t from);
  bool CohortFailed(size_t cohort);

  const std::string name_;
  Scheduler* const scheduler_;
  FairLine lines_[kPriorities];
  // Takes from the class in a row that passed by a waiting less urgent one.
  uint8_t runs_[kPriorities] = {};
  size_t ready_count_ = 0;
  size_t in_flight_ = 0;
  size_t jobs_ = 0;
  int window_ = 0;
  double success_ = 0;  // Share of the next step up.
  double failure_ = 0;  // What is left before the next step down.
  double failed_cohorts_ = 0;
  bool dead_ = false;
  MonoTime suspended_until_;
  MonoTime next_take_;
  std::string suspend_reason_;

  // The Scheduler's bookkeeping.
  size_t wake_index_ = kNowhere;
  bool notice_pending_ = false;
  uint32_t pins_ = 0;
  bool idle_ = false;  // In the list of those that may be forgotten.
  NexthopQueue* idle_next_ = nullptr;
  NexthopQueue* idle_previous_ = nullptr;
};

}  // namespace mailrace::queue
