// Gives up mail whose lifetime ends while its destination is dead: nobody tries it, so no
// attempt's end notices. After each probe that failed, all jobs are looked over, a slice a
// turn, and what is too old goes back to its sender, at most kGiveUpsAtOnce messages each
// kPause: 3,200 a second, so that the shard and the disk have time for living mail.
//
// Mail that is not in memory is judged by its queue id, which is as old as it is, and by
// the longer of the two lifetimes, so that nothing is read for nothing: bounces with a
// shorter one may wait for that. A destination that the operator suspended keeps its mail.
//
// Mail that is parked is engine/parked_expiry's. Lives on one shard.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "engine/delivery/job_pass.h"
#include "engine/message_memory.h"
#include "engine/outcome_recorder.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

class ExpirySweep {
 public:
  // What a job in flight, its message in memory, still owes; null: nothing, and the job has
  // ended.
  using Begin = std::function<std::unique_ptr<JobPass>(queue::Job*)>;

  // Borrowed; outlive it.
  ExpirySweep(ShardContext* context, MessageMemory* memory, OutcomeRecorder* recorder, Begin begin);

  // A destination was found dead (again). If a round is under way it goes on.
  void Start();
  // A job that is not in flight, of a dead nexthop and too old: it goes back to its sender.
  void GiveUp(queue::Job* job);
  // A job that was in flight to be read is ready again. If its destination was found dead
  // meanwhile, the round has passed it by, and the next probe might read the same one. It may
  // be gone afterwards.
  void CameBack(queue::Job* job);
  // Nobody tries its mail, and no operator wanted that.
  static bool IsDead(const queue::NexthopQueue& nexthop, MonoTime now) {
    return nexthop.window() == 0 && nexthop.suspended(now) && !nexthop.suspended_until().infinite();
  }
  // No further mail is given up.
  void Stop() { stopped_ = true; }

  static constexpr size_t kGiveUpsAtOnce = 64;
  static constexpr absl::Duration kPause = absl::Milliseconds(20);

 private:
  void Step();
  bool IsOver(const queue::Job& job, MonoTime now) const;
  void Loaded(queue::Job* job, absl::StatusOr<std::shared_ptr<QueuedMessage>> found);

  ShardContext* const context_;
  MessageMemory* const memory_;
  OutcomeRecorder* const recorder_;
  const Begin begin_;
  CallbackTimer timer_;
  bool under_way_ = false;
  bool stopped_ = false;
  size_t cursor_ = 0;
};

}  // namespace mailrace::engine
