#include "engine/shard_operations.h"

#include <algorithm>
#include <utility>

#include "base/sync.h"
#include "engine/logs/log_lines.h"
#include "engine/parking.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

using queue::Job;

// Lines about the operator's doing, in the words and under the name of Postfix's tool.
constexpr std::string_view kService = "postsuper";
// While more messages are being read back than may be.
constexpr absl::Duration kLoadPause = absl::Milliseconds(10);

ShardOperations::Durable Take(ShardOperations::Durable* durable) {
  return std::exchange(*durable, nullptr);
}

void Call(ShardOperations::Durable* durable, const absl::Status& status) {
  if (*durable != nullptr) Take(durable)(status);
}

}  // namespace

OperationResult ShardOperations::Apply(QueueId id, const Operation& operation, Durable durable) {
  OperationResult result = OperationResult::kNotHere;
  if (context_->scheduler->Find(id) != nullptr) {
    switch (operation.kind) {
      case Operation::Kind::kHold:
        result = Hold(id, &durable);
        break;
      case Operation::Kind::kRelease:
        result = Release(id, &durable);
        break;
      case Operation::Kind::kFlush:
        result = Flush(id);
        break;
      case Operation::Kind::kRemove:
        result = Remove(id, &durable);
        break;
      case Operation::Kind::kBounce:
        result = Bounce(id, operation.reason, &durable);
        break;
    }
  }
  Call(&durable, absl::OkStatus());  // Nothing to wait for, or given to who calls it later.
  return result;
}

void ShardOperations::Operate(QueueId id, Operation operation,
                              std::function<void(OperationResult)> answer, Durable durable) {
  auto apply = [this, id, operation = std::move(operation), answer = std::move(answer),
                durable = std::move(durable)](const absl::Status& read) mutable {
    if (read.ok()) {
      answer(Apply(id, operation, Take(&durable)));
      return;
    }
    // Done to the jobs in memory alone it would be half done, and said to be done.
    context_->logger->Warning(
        kService, fmt::format("{}: cannot be changed: {}", id.ToString(), read.ToString()));
    answer(OperationResult::kUnchanged);
    Call(&durable, read);
  };
  if (context_->parking->MayHave(id)) {
    context_->parking->Fetch(id, std::move(apply));
  } else {
    apply(absl::OkStatus());
  }
}

bool ShardOperations::InFlight(QueueId id) const {
  bool in_flight = false;
  context_->scheduler->ForEachOf(
      id, [&in_flight](Job* job) { in_flight = in_flight || job->state == Job::State::kInFlight; });
  return in_flight;
}

// Notes the wish if a job is in flight.
bool ShardOperations::Wish(QueueId id, OperatorWish::Kind kind, const std::string& reason) {
  const bool in_flight = InFlight(id);
  if (in_flight) context_->wishes->Set(id, {kind, reason});
  return in_flight;
}

// Only the end of an attempt is waited for: the message's other jobs are gone already, so that
// nobody would try what another wish kept.
bool ShardOperations::BeingRemoved(QueueId id) const {
  const OperatorWish* const wish = context_->wishes->Find(id);
  return wish != nullptr && wish->kind == OperatorWish::Kind::kRemove;
}

OperationResult ShardOperations::Hold(QueueId id, Durable* durable) {
  if (BeingRemoved(id)) return OperationResult::kUnchanged;
  bool changed = false;
  context_->scheduler->ForEachOf(id, [this, &changed](Job* job) {
    if (job->state == Job::State::kHeld || job->state == Job::State::kInFlight) return;
    context_->scheduler->Hold(job);
    changed = true;
  });
  const bool in_flight = Wish(id, OperatorWish::Kind::kHold, "");
  if (changed) {
    Log(id, "placed on hold");
    RecordHold(id, Take(durable));
  }
  if (in_flight) return OperationResult::kAfterAttempt;
  return changed ? OperationResult::kDone : OperationResult::kUnchanged;
}

OperationResult ShardOperations::Release(QueueId id, Durable* durable) {
  const MonoTime now = context_->loop->now();
  bool changed = false;
  if (const OperatorWish* wish = context_->wishes->Find(id);
      wish != nullptr && wish->kind == OperatorWish::Kind::kHold) {
    changed = context_->wishes->Forget(id);
  }
  context_->scheduler->ForEachOf(id, [this, &changed, now](Job* job) {
    if (job->state != Job::State::kHeld) return;
    context_->scheduler->Unhold(job, now);
    changed = true;
  });
  if (!changed) return OperationResult::kUnchanged;
  context_->rearm();  // A rate delay may have to pass first.
  Log(id, "released from hold");
  RecordHold(id, Take(durable));
  return OperationResult::kDone;
}

OperationResult ShardOperations::Flush(QueueId id) {
  const MonoTime now = context_->loop->now();
  bool changed = false;
  bool suspended = false;
  context_->scheduler->ForEachOf(id, [&](Job* job) {
    if (job->state != Job::State::kDeferred && job->state != Job::State::kReady) return;
    // A dead destination is tried again; one that an operator suspended is not.
    queue::NexthopQueue* const nexthop = job->nexthop;
    if (nexthop->suspended_until().infinite()) {
      suspended = true;
      return;
    }
    if (nexthop->suspended(now)) {
      nexthop->Resume();
      changed = true;
    }
    if (job->state != Job::State::kDeferred) return;
    context_->scheduler->MakeReady(job, now);
    changed = true;
  });
  if (changed) context_->rearm();
  // Mail without end may be flushed: what finds no room is parked again, and due.
  if (changed && context_->parking->crowded()) RecordFlush(id);
  if (changed) return OperationResult::kDone;
  return suspended ? OperationResult::kSuspended : OperationResult::kUnchanged;
}

OperationResult ShardOperations::Remove(QueueId id, Durable* durable) {
  const bool in_flight = Wish(id, OperatorWish::Kind::kRemove, "");
  std::vector<RemovedJob> jobs;
  context_->scheduler->ForEachOf(id, [this, &jobs](Job* job) {
    if (job->state == Job::State::kInFlight) return;
    jobs.push_back({job->nexthop->name(), job->recipients, job->priority});
    context_->scheduler->Remove(job);
  });
  // The last attempt that ends takes the records with it.
  if (in_flight) return OperationResult::kAfterAttempt;
  context_->wishes->Forget(id);
  context_->parking->Leaving(id);
  const auto remove = [this, id](const Shared& message, Durable tell) {
    message->set_queued(false);
    queue::WriteSet writes;
    writes.RemoveMessage(id, message->envelope().chunks, message->done_indices(),
                         message->has_retry());
    recorder_->Record(id, std::move(writes), message, [this, id, tell = std::move(tell)]() mutable {
      if (context_->flights != nullptr) context_->flights->Forget(id);
      context_->parking->Left(id);
      context_->stats->removed_messages.Add();
      context_->logger->Info(kService, logs::RemovedLine(id.ToString()));
      Call(&tell, absl::OkStatus());
    });
  };
  // It must not vanish from the queue's list and come back with the next start.
  const auto keep = [this, id, jobs = std::move(jobs)] { KeepHeld(id, jobs); };
  WithMessage(id, Take(durable), remove, keep);
  return OperationResult::kDone;
}

void ShardOperations::KeepHeld(QueueId id, const std::vector<RemovedJob>& jobs) {
  const MonoTime now = context_->loop->now();
  context_->parking->Left(id);
  for (const RemovedJob& job : jobs) {
    context_->scheduler->Add(id, job.nexthop, nullptr, job.recipients, job.priority, now, now,
                             /*held=*/true);
  }
}

OperationResult ShardOperations::Bounce(QueueId id, const std::string& reason, Durable* durable) {
  if (BeingRemoved(id)) return OperationResult::kUnchanged;
  const bool in_flight = Wish(id, OperatorWish::Kind::kBounce, reason);
  // One attempt stands for all: the sender gets one notice.
  Job* first = nullptr;
  std::vector<RemovedJob> others;
  context_->scheduler->ForEachOf(id, [this, &first, &others](Job* job) {
    if (job->state == Job::State::kInFlight) return;
    if (first == nullptr) {
      first = job;
    } else {
      others.push_back({job->nexthop->name(), job->recipients, job->priority});
      context_->scheduler->Remove(job);
    }
  });
  if (first != nullptr) {
    context_->parking->Leaving(id);
    context_->scheduler->TakeOut(first, context_->loop->now());
    context_->tasks->Spawn(BounceTask(first, std::move(others), reason, Take(durable)));
  }
  return in_flight ? OperationResult::kAfterAttempt : OperationResult::kDone;
}

Task<void> ShardOperations::BounceTask(Job* job, std::vector<RemovedJob> others, std::string reason,
                                       Durable durable) {
  const QueueId id = job->id;
  std::shared_ptr<QueuedMessage> message = memory_->Find(id);
  if (message == nullptr) {
    while (!memory_->may_load()) {
      co_await SleepUntil(context_->loop, context_->loop->now() + kLoadPause);
    }
    message = memory_->Find(id);
  }
  if (message == nullptr) {
    OneShot<absl::StatusOr<std::shared_ptr<QueuedMessage>>> answer(context_->loop);
    memory_->Load(id, [&answer](absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
      answer.Set(std::move(found));
    });
    absl::StatusOr<std::shared_ptr<QueuedMessage>> found = co_await answer;
    if (!found.ok()) {
      context_->scheduler->Hold(job);
      KeepHeld(id, others);
      context_->rearm();
      context_->logger->Warning(kService, fmt::format("{}: cannot be bounced, message is held: {}",
                                                      id.ToString(), found.status().ToString()));
      Call(&durable, found.status());
      co_return;
    }
    message = *std::move(found);
  }
  std::vector<uint32_t> recipients;
  for (uint32_t i = 0; i < message->envelope().recipients.size(); ++i) {
    if (message->pending(i) && !message->taken(i)) recipients.push_back(i);
  }
  if (recipients.empty()) {
    context_->parking->Left(id);
    context_->scheduler->Finish(job);
    context_->rearm();
    Call(&durable, absl::OkStatus());
    co_return;
  }
  auto pass = std::make_unique<JobPass>(job, std::move(message), std::move(recipients),
                                        context_->settings->limits.recipient_limit, context_->loop,
                                        context_->reader);
  pass->taken = context_->loop->now();
  pass->recorded = [this, id, tell = std::move(durable)]() mutable {
    context_->parking->Left(id);
    Call(&tell, absl::OkStatus());
  };
  recorder_->PassBounced(std::move(pass), reason);
}

// Whoever changes a message's records does it by the one object that all share, which is
// read from the disk only when nothing of it is on its way there.
void ShardOperations::WithMessage(QueueId id, Durable durable, Change change,
                                  std::function<void()> failed) {
  if (const Shared message = memory_->Find(id)) {
    change(message, std::move(durable));
    return;
  }
  memory_->LoadEnvelope(id, [this, id, change = std::move(change), failed = std::move(failed),
                             tell = std::move(durable)](absl::StatusOr<Shared> found) {
    if (found.ok()) {
      change(*found, tell);
      return;
    }
    // Its records cannot be told from the disk's damage: they stay as they are.
    context_->logger->Warning(kService, fmt::format("{}: cannot be changed: {}", id.ToString(),
                                                    found.status().ToString()));
    if (failed != nullptr) failed();
    if (tell != nullptr) tell(found.status());
  });
}

// Held survives a restart; what else is known of the retries is kept.
void ShardOperations::RecordHold(QueueId id, Durable durable) {
  WithMessage(id, std::move(durable), [this, id](const Shared& message, Durable tell) {
    // Meanwhile it may have ended.
    if (context_->scheduler->Find(id) == nullptr) {
      Call(&tell, absl::OkStatus());
      return;
    }
    // As it is now: while the disk was read the operator may have changed his mind.
    queue::RetryState& retry = message->retry();
    retry.held = false;
    context_->scheduler->ForEachOf(
        id, [&retry](Job* job) { retry.held = retry.held || job->state == Job::State::kHeld; });
    // Released is ready, also after a restart and when it is parked.
    if (!retry.held) retry.next_attempt = std::min(retry.next_attempt, context_->loop->wall());
    message->set_has_retry();
    queue::WriteSet writes;
    writes.PutRetry(id, retry);
    recorder_->Record(id, std::move(writes), message,
                      [tell = std::move(tell)]() mutable { Call(&tell, absl::OkStatus()); });
  });
}

// A flush is a matter of the moment, of which nothing is written but here.
void ShardOperations::RecordFlush(QueueId id) {
  WithMessage(id, nullptr, [this, id](const Shared& message, const Durable&) {
    if (!message->has_retry() || context_->scheduler->Find(id) == nullptr) return;
    message->retry().next_attempt = std::min(message->retry().next_attempt, context_->loop->wall());
    queue::WriteSet writes;
    writes.PutRetry(id, message->retry());
    recorder_->Record(id, std::move(writes), message);
  });
}

void ShardOperations::AfterLoad(QueueId id) {
  const OperatorWish* const found = context_->wishes->Find(id);
  if (found == nullptr || InFlight(id)) return;
  const OperatorWish wish = *found;
  context_->wishes->Forget(id);
  switch (wish.kind) {
    case OperatorWish::Kind::kHold:
      Apply(id, {Operation::Kind::kHold, ""}, nullptr);
      return;
    case OperatorWish::Kind::kRemove:
      Apply(id, {Operation::Kind::kRemove, ""}, nullptr);
      return;
    case OperatorWish::Kind::kBounce:
      Apply(id, {Operation::Kind::kBounce, wish.reason}, nullptr);
      return;
  }
}

std::vector<JobFacts> ShardOperations::Look(QueueId id) const {
  std::vector<JobFacts> all;
  const MonoTime now = context_->loop->now();
  context_->scheduler->ForEachOf(id, [&](Job* job) {
    JobFacts& facts = all.emplace_back();
    facts.nexthop = job->nexthop->name();
    switch (job->state) {
      case Job::State::kDeferred:
        facts.due_in = job->due.infinite() ? absl::InfiniteDuration() : job->due - now;
        break;
      case Job::State::kHeld:
        facts.state = JobFacts::State::kHeld;
        break;
      case Job::State::kInFlight:
        facts.state = JobFacts::State::kActive;
        facts.in_delivery = true;
        break;
      case Job::State::kReady:
        facts.state = JobFacts::State::kActive;
        break;
    }
    LookAtNexthop(*job->nexthop, &facts);
  });
  return all;
}

// As an operator sees it, what waits for its destination is deferred.
void ShardOperations::LookAtNexthop(const queue::NexthopQueue& nexthop, JobFacts* facts) const {
  const MonoTime now = context_->loop->now();
  facts->suspended_by_operator = nexthop.suspended_until().infinite();
  const bool waits = facts->state != JobFacts::State::kHeld && !facts->in_delivery;
  if (!waits || !nexthop.suspended(now)) return;
  facts->state = JobFacts::State::kDeferred;
  facts->waits_for = nexthop.suspend_reason();
  const absl::Duration until =
      facts->suspended_by_operator ? absl::InfiniteDuration() : nexthop.suspended_until() - now;
  facts->due_in = std::max(facts->due_in, until);
}

std::vector<JobFacts> ShardOperations::Look(const queue::RecoveredMessage& message) const {
  std::vector<JobFacts> all = Look(message.envelope.id);
  for (const RecoveredJob& job : context_->parking->ParkedJobs(message)) {
    JobFacts& facts = all.emplace_back();
    facts.nexthop = job.nexthop;
    facts.due_in = std::max(absl::ZeroDuration(), job.next_attempt - context_->loop->wall());
    if (context_->settings->delivery_deferred) facts.due_in = absl::InfiniteDuration();
    if (facts.due_in <= absl::ZeroDuration()) facts.state = JobFacts::State::kActive;
    if (job.held) facts.state = JobFacts::State::kHeld;
    if (job.held) facts.due_in = absl::ZeroDuration();
    const queue::NexthopQueue* const nexthop = context_->scheduler->FindNexthop(job.nexthop);
    if (nexthop != nullptr) LookAtNexthop(*nexthop, &facts);
  }
  return all;
}

bool ShardOperations::Suspend(std::string_view name, std::string reason) {
  queue::NexthopQueue* const nexthop = context_->scheduler->Nexthop(name);
  if (nexthop->suspended_until().infinite()) return false;
  nexthop->Suspend(MonoTime::Infinite(), std::move(reason));
  return true;
}

bool ShardOperations::Resume(std::string_view name) {
  queue::NexthopQueue* const nexthop = context_->scheduler->FindNexthop(name);
  if (nexthop == nullptr || !nexthop->suspended_until().infinite()) return false;
  nexthop->Resume();
  return true;
}

void ShardOperations::Log(QueueId id, std::string_view what) const {
  context_->logger->Info(kService, fmt::format("{}: {}", id.ToString(), what));
}

}  // namespace mailrace::engine
