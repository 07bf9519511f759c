// What is owed, to which nexthop, and when: the queue in memory. One a shard; not
// thread-safe; never suspends, time is an argument.
//
// A job is what one message owes one nexthop. States: deferred (due later), held,
// ready (in its nexthop's line), in flight (taken). Take() makes ready -> in flight;
// Finish() ends it, Defer() sends it back.
//
// Jobs are small (the message itself may have been evicted: the engine loads it again
// by its id), so a million deferred messages cost megabytes: 88 octets for the job, 8 to
// 24 for finding it by its id, 16 to 32 for its place among the deferred.
//
// Add, Take, Finish and Release take constant time, Defer and Advance logarithmic time
// in the number of deferred jobs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/queue_id.h"
#include "queue/due_heap.h"
#include "queue/job.h"
#include "queue/job_pool.h"
#include "queue/nexthop_queue.h"
#include "queue/tenants.h"

namespace mailrace::queue {

class Scheduler {
 public:
  explicit Scheduler(DestinationLimits limits);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Called when a nexthop that is neither suspended nor rate-limited gets its first ready
  // job, and when a suspension or rate delay ends while jobs are ready. Never for a
  // nexthop from which Take() would be refused for good; once for each such event, not
  // once a job. Called last within the Scheduler method that caused it: it may call
  // anything here but the destructor.
  void set_on_ready(std::function<void(NexthopQueue*)> callback);

  // Called for each job that is about to go (Finish, Remove); it may do nothing to it.
  void set_on_end(std::function<void(const Job&)> callback) { on_end_ = std::move(callback); }

  // New limits (a reload) count from the next Take and the next feedback.
  void set_limits(DestinationLimits limits) { limits_ = limits; }
  const DestinationLimits& limits() const { return limits_; }

  // How tenants share each nexthop, as Tenants::set_weights.
  void set_tenant_weights(Tenants::WeightOf weight_of) {
    tenants_.set_weights(std::move(weight_of));
  }
  const Tenants& tenants() const { return tenants_; }

  // A new job; ready at once if due <= now. `held` jobs wait for Unhold. A message may
  // have several jobs, for different nexthops. Priorities above 2 count as 2.
  Job* Add(QueueId id, std::string_view nexthop, std::shared_ptr<MessageHandle> message,
           uint32_t recipients, uint8_t priority, MonoTime due, MonoTime now, bool held = false,
           std::string_view tenant = {});

  void Finish(Job* job);                   // In flight -> gone (deleted).
  void Defer(Job* job, MonoTime due);      // In flight -> deferred.
  void Release(Job* job, MonoTime now);    // In flight -> ready, at the front, uncharged.
  void Hold(Job* job);                     // Ready, deferred or in flight -> held.
  void Unhold(Job* job, MonoTime now);     // Held -> ready.
  void MakeReady(Job* job, MonoTime now);  // Deferred -> ready (flush).
  void Remove(Job* job);                   // Any state -> gone (the operator's delete).
  void TakeOut(Job* job, MonoTime now);    // Ready, deferred or held -> in flight, past all lines.
  // Ready -> in flight, out of turn and though its nexthop is suspended: to give it up.
  void TakeAside(Job* job);
  // All that are deferred now -> ready, the earliest due first; resumes nexthops, save
  // those that are suspended without end. Moves as many at once as Advance, which goes on
  // with the others. What is deferred again meanwhile waits as told, unless another
  // FlushAll comes before this one is through.
  void FlushAll(MonoTime now);

  // Deferred jobs that are due or flushed become ready; suspended nexthops whose time
  // came are resumed (on_ready is called). Call when NextWake() has come. Moves at most
  // kAdvanceJobsMax jobs, so that a shard is not kept from its sessions: if more are due,
  // NextWake() stays in the past.
  static constexpr size_t kAdvanceJobsMax = 4096;
  void Advance(MonoTime now);
  MonoTime NextWake() const;  // Infinite if nothing will come by itself.

  Job* Find(QueueId id) const;  // The first job of this message, or null.
  // All jobs of this message, in the order of their Add(). `visit` may do anything to
  // the job that it is given, nothing to the others.
  void ForEachOf(QueueId id, const std::function<void(Job*)>& visit);
  NexthopQueue* FindNexthop(std::string_view name);
  // Made if it is not known: to suspend a nexthop that has no mail yet.
  NexthopQueue* Nexthop(std::string_view name);
  // As JobPool::Sweep: all jobs, some at a time, for work that must not keep the shard.
  bool Sweep(size_t* cursor, size_t count, const std::function<void(Job*)>& visit) {
    return pool_.Sweep(cursor, count, visit);
  }
  // No order; `visit` changes nothing.
  void ForEach(const std::function<void(const Job&)>& visit) const;
  void ForEachNexthop(const std::function<void(NexthopQueue&)>& visit);

  struct Counts {
    size_t ready = 0, deferred = 0, held = 0, in_flight = 0;
  };
  Counts counts() const { return counts_; }
  size_t nexthops() const { return nexthops_.size(); }

  // A nexthop without jobs is kept for a while, so that its window and suspension are
  // not forgotten with its last message: this many, those idle longest go first.
  static constexpr size_t kIdleNexthopsMax = 1024;

  // Memory for jobs and their indices, without the messages and the nexthops.
  size_t octets() const;

 private:
  friend class NexthopQueue;
  using DeferredHeap = DueHeap<Job, &Job::heap_index_>;
  struct HashOfId {
    using is_transparent = void;
    size_t operator()(QueueId id) const { return absl::Hash<QueueId>()(id); }
    size_t operator()(const Job* job) const { return (*this)(job->id); }
  };
  struct SameId {
    using is_transparent = void;
    bool operator()(const Job* a, const Job* b) const { return a->id == b->id; }
    bool operator()(const Job* a, QueueId b) const { return a->id == b; }
    bool operator()(QueueId a, const Job* b) const { return a == b->id; }
  };

  void LinkSibling(Job* job);
  void UnlinkSibling(Job* job);
  // Out of its line, heap or flight, and out of the counts: in no state.
  void Leave(Job* job);
  void BecomeReady(Job* job, MonoTime now);  // From no state. No call-back.
  void BecomeDeferred(Job* job, MonoTime due);
  // The first of `heap`, which becomes ready.
  void MoveFirst(const DeferredHeap& heap, MonoTime now);
  // After a job ended or went back: a rate-limited nexthop may take the next one.
  void FlightEnded(NexthopQueue* nexthop);

  // Calls on_ready now if a job is ready and the nexthop may be taken from; else sees to
  // it that Advance does.
  void NotifyIfOpen(NexthopQueue* nexthop, MonoTime now);
  void Notify(NexthopQueue* nexthop);  // The same where no time is known: not suspended.
  void NoticeLater(NexthopQueue* nexthop);
  void CallNotices(MonoTime now);
  // Advance looks at this nexthop at `time`; Infinite: not at all.
  void Wake(NexthopQueue* nexthop, MonoTime time);

  void UpdateIdle(NexthopQueue* nexthop);
  void ForgetIdlest();

  DestinationLimits limits_;
  Tenants tenants_;  // Before the nexthops, whose lines use it.
  std::function<void(NexthopQueue*)> on_ready_;
  std::function<void(const Job&)> on_end_;
  absl::flat_hash_map<std::string, std::unique_ptr<NexthopQueue>> nexthops_;
  JobPool pool_;
  absl::flat_hash_set<Job*, HashOfId, SameId> messages_;  // Each message's first job.
  DeferredHeap deferred_;
  DeferredHeap flushed_;      // Deferred when FlushAll came, and not yet ready.
  bool flush_again_ = false;  // It came once more meanwhile.
  DueHeap<NexthopQueue, &NexthopQueue::wake_index_> wakes_;
  std::vector<NexthopQueue*> notices_;  // Became ready within Advance or FlushAll.
  NexthopQueue* idle_first_ = nullptr;  // Idle longest.
  NexthopQueue* idle_last_ = nullptr;
  size_t idle_count_ = 0;
  Counts counts_;
};

}  // namespace mailrace::queue
