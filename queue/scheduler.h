// What is owed, to which nexthop, and when: the queue in memory. One a shard; not
// thread-safe; never suspends, time is an argument.
//
// A job is what one message owes one nexthop. States: deferred (due later), held,
// ready (in its nexthop's line), in flight (taken). Take() makes ready -> in flight;
// Finish() ends it, Defer() sends it back.
//
// Jobs are small (the message itself may have been evicted: the engine loads it again
// by its id), so a million deferred messages cost megabytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/queue_id.h"

namespace mailrace::queue {

class NexthopQueue;

// A message held in memory by the engine (envelope, body, states). The scheduler only
// keeps it alive.
class MessageHandle {
 public:
  virtual ~MessageHandle() = default;
};

struct Job {
  QueueId id;
  NexthopQueue* nexthop = nullptr;
  std::shared_ptr<MessageHandle> message;  // Null: evicted, load it by id.
  MonoTime due;                            // When deferred.
  MonoTime ready_since;                    // When it became ready: the delay in the queue.
  uint32_t recipients = 0;
  uint8_t priority = 1;

  enum class State : uint8_t { kDeferred, kHeld, kReady, kInFlight };
  State state = State::kDeferred;

 private:
  friend class Scheduler;
  friend class NexthopQueue;
  Job* next_ = nullptr;
  Job* previous_ = nullptr;
  size_t heap_index_ = 0;
};

struct DestinationLimits {
  int initial_concurrency = 5;  // initial_destination_concurrency
  int concurrency_limit = 20;   // default_destination_concurrency_limit, this shard's share
  int recipient_limit = 50;     // default_destination_recipient_limit
  int failed_cohort_limit = 1;  // default_destination_concurrency_failed_cohort_limit
  absl::Duration rate_delay;    // default_destination_rate_delay
  // Feedback: 1 / concurrency by default, as Postfix ("1" alone would be Postfix 2.4).
  bool feedback_per_concurrency = true;
};

// Messages owed to one nexthop, and how hard we may push it. States: open -> suspended
// (dead destination until a time) -> open. Owned by the Scheduler.
class NexthopQueue {
 public:
  const std::string& name() const { return name_; }

  // The oldest ready job of the most urgent class, now in flight; null if none is ready
  // or the nexthop is suspended or rate-limited. The caller owns the outcome: it must
  // call Scheduler::Finish, Defer or Release for it.
  Job* Take(MonoTime now);
  size_t ready() const { return ready_count_; }
  size_t in_flight() const { return in_flight_; }

  // Sessions that the window allows now, and feedback on it (SCHEDULER_README): a
  // session that delivered, a session that could not be made or broke.
  int window() const;
  void SessionSucceeded();
  // Returns true if the destination is dead now (failed cohorts reached the limit).
  bool SessionFailed();

  // No Take until `until`; ready jobs stay ready and are not charged.
  void Suspend(MonoTime until, std::string reason);
  void Resume();
  bool suspended(MonoTime now) const { return now < suspended_until_; }
  MonoTime suspended_until() const { return suspended_until_; }
  const std::string& suspend_reason() const { return suspend_reason_; }

 private:
  friend class Scheduler;
  static constexpr int kPriorities = 3;
  struct Line {
    Job* first = nullptr;
    Job* last = nullptr;
  };
  explicit NexthopQueue(std::string name, const DestinationLimits* limits);
  std::string name_;
  const DestinationLimits* limits_;
  Line lines_[kPriorities];
  size_t ready_count_ = 0;
  size_t in_flight_ = 0;
  size_t jobs_ = 0;
  double window_ = 0;
  double failed_cohorts_ = 0;
  MonoTime suspended_until_;
  MonoTime next_take_;
  std::string suspend_reason_;
};

class Scheduler {
 public:
  explicit Scheduler(DestinationLimits limits);
  ~Scheduler();

  // Called when a nexthop has ready jobs and had none, or may be tried again.
  void set_on_ready(std::function<void(NexthopQueue*)> callback);

  // A new job; ready at once if due <= now. `held` jobs wait for Release.
  Job* Add(QueueId id, std::string_view nexthop, std::shared_ptr<MessageHandle> message,
           uint32_t recipients, uint8_t priority, MonoTime due, MonoTime now, bool held = false);

  void Finish(Job* job);                   // In flight -> gone (deleted).
  void Defer(Job* job, MonoTime due);      // In flight -> deferred.
  void Release(Job* job, MonoTime now);    // In flight -> ready, at the front, uncharged.
  void Hold(Job* job);                     // Ready or deferred -> held.
  void Unhold(Job* job, MonoTime now);     // Held -> ready.
  void MakeReady(Job* job, MonoTime now);  // Deferred -> ready (flush).
  void FlushAll(MonoTime now);             // All deferred -> ready; resumes nexthops.

  // Deferred jobs that are due become ready; suspended nexthops whose time came are
  // resumed (on_ready is called). Call when NextWake() has come.
  void Advance(MonoTime now);
  MonoTime NextWake() const;

  Job* Find(QueueId id) const;  // The first job of this message, or null.
  NexthopQueue* FindNexthop(std::string_view name);
  void ForEach(const std::function<void(const Job&)>& visit) const;
  void ForEachNexthop(const std::function<void(NexthopQueue&)>& visit);

  struct Counts {
    size_t ready = 0, deferred = 0, held = 0, in_flight = 0;
  };
  Counts counts() const { return counts_; }

 private:
  NexthopQueue* Nexthop(std::string_view name);
  DestinationLimits limits_;
  std::function<void(NexthopQueue*)> on_ready_;
  absl::flat_hash_map<std::string, std::unique_ptr<NexthopQueue>> nexthops_;
  absl::flat_hash_map<QueueId, Job*> jobs_;
  std::vector<Job*> deferred_;  // Heap by due.
  Counts counts_;
};

}  // namespace mailrace::queue
