#include "engine/expiry_sweep.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Rooms looked at in one turn of the loop, a piece at a time: some tenths of a
// millisecond, most of it waiting for memory.
constexpr size_t kRoomsAtOnce = 4096;
constexpr size_t kRoomsAPiece = 64;

}  // namespace

ExpirySweep::ExpirySweep(ShardContext* context, MessageMemory* memory, OutcomeRecorder* recorder,
                         Begin begin)
    : context_(context),
      memory_(memory),
      recorder_(recorder),
      begin_(std::move(begin)),
      timer_([this] { Step(); }) {}

void ExpirySweep::Start() {
  if (under_way_ || stopped_) return;
  under_way_ = true;
  cursor_ = 0;
  context_->loop->timers().Arm(&timer_, context_->loop->now());
}

bool ExpirySweep::IsOver(const queue::Job& job, MonoTime now) const {
  if (job.state != queue::Job::State::kReady) return false;
  if (!IsDead(*job.nexthop, now)) return false;
  const queue::RetrySchedule& retry = context_->settings->retry;
  if (job.message != nullptr) {
    return context_->ages->Expired(static_cast<const QueuedMessage*>(job.message.get())->envelope(),
                                   retry);
  }
  // Of its envelope the id alone is known.
  queue::Envelope envelope;
  envelope.id = job.id;
  envelope.arrival = QueueIdSource::TimeOf(job.id);
  if (!context_->ages->Expired(envelope, retry)) return false;
  envelope.reverse_path = "somebody";
  return context_->ages->Expired(envelope, retry);
}

void ExpirySweep::Step() {
  if (stopped_) return;
  const MonoTime now = context_->loop->now();
  std::vector<queue::Job*> old;
  bool more = true;
  size_t rooms = 0;
  while (more && rooms < kRoomsAtOnce && old.size() + kRoomsAPiece <= kGiveUpsAtOnce &&
         memory_->may_load() && !recorder_->blocked()) {
    rooms += kRoomsAPiece;
    more = context_->scheduler->Sweep(&cursor_, kRoomsAPiece, [&](queue::Job* job) {
      if (IsOver(*job, now)) old.push_back(job);
    });
  }
  for (queue::Job* job : old) GiveUp(job);
  under_way_ = more;
  if (more) context_->loop->timers().Arm(&timer_, old.empty() && rooms > 0 ? now : now + kPause);
}

void ExpirySweep::CameBack(queue::Job* job) {
  if (stopped_ || recorder_->blocked() || !IsOver(*job, context_->loop->now())) return;
  GiveUp(job);
}

void ExpirySweep::GiveUp(queue::Job* job) {
  if (job->message == nullptr) job->message = memory_->Find(job->id);
  if (job->message == nullptr && !memory_->may_load()) return;  // In the next round.
  if (job->state == queue::Job::State::kReady) {
    context_->scheduler->TakeAside(job);
  } else {
    context_->scheduler->TakeOut(job, context_->loop->now());
  }
  if (job->message != nullptr) {
    Loaded(job, std::static_pointer_cast<QueuedMessage>(job->message));
    return;
  }
  memory_->Load(job->id, [this, job](absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
    Loaded(job, std::move(found));
  });
}

void ExpirySweep::Loaded(queue::Job* job, absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
  if (absl::IsNotFound(found.status())) {
    context_->scheduler->Finish(job);  // As for a delivery: it ended meanwhile.
    context_->rearm();
    return;
  }
  if (!found.ok()) {
    // As for a delivery: neither sent nor dropped until somebody looks.
    context_->logger->Log(Severity::kError, "qmgr",
                          fmt::format("{}: cannot be read, message is held: {}", job->id.ToString(),
                                      found.status().ToString()));
    context_->scheduler->Hold(job);
    context_->rearm();
    return;
  }
  job->message = *found;
  // Why its destination is dead is why it could not be delivered.
  const Trouble trouble{EnhancedStatus{4, 4, 1}, job->nexthop->suspend_reason()};
  std::unique_ptr<JobPass> pass = begin_(job);
  if (pass != nullptr) recorder_->PassBlocked(std::move(pass), trouble, TransactionFacts{});
  context_->rearm();
}

}  // namespace mailrace::engine
