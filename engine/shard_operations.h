// What an operator may do to the messages and destinations of one shard: hold, release,
// flush, remove, bounce; suspend, resume. Lives on the shard; `queue` requests of the
// control socket come here (engine/admin/), and tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/queue_id.h"
#include "base/task.h"
#include "engine/message_memory.h"
#include "engine/operator_wishes.h"
#include "engine/outcome_recorder.h"
#include "engine/shard_context.h"
#include "queue/scheduler.h"

namespace mailrace::engine {

struct Operation {
  enum class Kind {
    kHold,     // Not tried until it is released; survives restarts.
    kRelease,  // Held mail is ready again.
    kFlush,    // Deferred mail is ready now, its destination is tried again.
    kRemove,   // Gone without a notice.
    kBounce,   // What is still owed fails; the sender gets a notice, in the same batch.
  };
  Kind kind = Kind::kHold;
  std::string reason;  // Of a bounce: for its notice. Printable.
};

enum class OperationResult {
  kDone,
  // In delivery now. Hold, remove and bounce are done when this attempt ends, unless it
  // delivers; a crash before forgets them.
  kAfterAttempt,
  kUnchanged,  // Nothing to do: not held, not deferred, held already.
  kSuspended,  // A flush of mail for a destination that an operator suspended.
  kNotHere,    // No such message on this shard (any more).
};

// One job of a message, as an operator sees it.
struct JobFacts {
  std::string nexthop;
  enum class State { kActive, kDeferred, kHeld };
  State state = State::kDeferred;
  bool in_delivery = false;
  bool suspended_by_operator = false;
  absl::Duration due_in;  // Deferred: until the next attempt; infinite: not by itself.
  std::string waits_for;  // Why it is not tried now, if its destination is the reason.
};

class ShardOperations {
 public:
  // All borrowed; outlive this. `memory` and `recorder` are the shard's.
  ShardOperations(ShardContext* context, MessageMemory* memory, OutcomeRecorder* recorder)
      : context_(context), memory_(memory), recorder_(recorder) {}
  ShardOperations(const ShardOperations&) = delete;
  ShardOperations& operator=(const ShardOperations&) = delete;

  // `durable` (may be null) is called once: with OK when what was done would survive a
  // crash — at once if nothing was —, else with why it could not be done after all (the
  // message cannot be read). It waits for as long as the disk is full.
  using Durable = std::function<void(absl::Status)>;
  OperationResult Apply(QueueId id, const Operation& operation, Durable durable);
  // The same for mail that may be parked (engine/parking): its jobs are brought into memory
  // first. `answer` is called once, then or later. If they cannot be read nothing is done: the
  // answer is kUnchanged, and `durable` is told why.
  void Operate(QueueId id, Operation operation, std::function<void(OperationResult)> answer,
               Durable durable);

  // The message's jobs in memory; empty if it has none here.
  std::vector<JobFacts> Look(QueueId id) const;
  // And those that are parked, as the store had the message a moment ago.
  std::vector<JobFacts> Look(const queue::RecoveredMessage& message) const;

  // No mail for `nexthop` is tried until Resume(); what is being sent ends in order.
  // False: it was suspended by an operator already, respectively was not. Kept over
  // restarts by engine/admin/suspensions.h.
  bool Suspend(std::string_view nexthop, std::string reason);
  bool Resume(std::string_view nexthop);

  // A job of the message was in flight only to be read, and is back or held: if that was the last
  // one in flight, what an operator wished meanwhile is done now.
  void AfterLoad(QueueId id);

 private:
  OperationResult Hold(QueueId id, Durable* durable);
  OperationResult Release(QueueId id, Durable* durable);
  OperationResult Flush(QueueId id);
  OperationResult Remove(QueueId id, Durable* durable);
  OperationResult Bounce(QueueId id, const std::string& reason, Durable* durable);
  bool Wish(QueueId id, OperatorWish::Kind kind, const std::string& reason);
  bool InFlight(QueueId id) const;
  bool BeingRemoved(QueueId id) const;
  using Shared = std::shared_ptr<QueuedMessage>;
  using Change = std::function<void(const Shared& message, Durable durable)>;
  // What is needed to put back a job whose message could not be removed.
  struct RemovedJob {
    std::string nexthop;
    uint32_t recipients = 0;
    uint8_t priority = 1;
  };
  // `failed` (may be null): the message cannot be read.
  void WithMessage(QueueId id, Durable durable, Change change,
                   std::function<void()> failed = nullptr);
  void RecordHold(QueueId id, Durable durable);
  void RecordFlush(QueueId id);
  void LookAtNexthop(const queue::NexthopQueue& nexthop, JobFacts* facts) const;
  void KeepHeld(QueueId id, const std::vector<RemovedJob>& jobs);
  Task<void> BounceTask(queue::Job* job, std::vector<RemovedJob> others, std::string reason,
                        Durable durable);
  void Log(QueueId id, std::string_view what) const;

  ShardContext* const context_;
  MessageMemory* const memory_;
  OutcomeRecorder* const recorder_;
};

}  // namespace mailrace::engine
