#include "engine/delay_watch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/sync.h"
#include "engine/routing/router.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

constexpr absl::Duration kPauseMost = absl::Seconds(30);
constexpr absl::Duration kPauseLeast = absl::Seconds(1);
// Jobs looked at in one turn of the loop, and the time others have then.
constexpr size_t kJobsAtOnce = 1024;
constexpr absl::Duration kTurn = absl::Milliseconds(1);
// Each costs a write: 3,200 a second, so that the disk has time for living mail.
constexpr size_t kTellsAtOnce = 64;
constexpr absl::Duration kTellPause = absl::Milliseconds(20);

// No id below it was given since `time`.
QueueId FirstIdOf(absl::Time time) {
  const int64_t micros = std::max<int64_t>(0, absl::ToUnixMicros(time));
  return {static_cast<uint64_t>(micros) << QueueIdSource::kShardBits};
}

}  // namespace

DelayWatch::DelayWatch(ShardContext* context, MessageMemory* memory, OutcomeRecorder* recorder)
    : context_(context), memory_(memory), recorder_(recorder), timer_([this] { Look(); }) {}

void DelayWatch::Arm() {
  const absl::Duration time = context_->settings->bounces.delay_warning_time;
  if (time <= absl::ZeroDuration() || stopped_ || looking_) return;
  const absl::Duration pause = std::clamp(time / 4, kPauseLeast, kPauseMost);
  context_->loop->timers().Arm(&timer_, context_->loop->now() + pause);
}

void DelayWatch::Look() {
  if (looking_ || stopped_ ||
      context_->settings->bounces.delay_warning_time <= absl::ZeroDuration())
    return;
  looking_ = true;
  context_->tasks->Spawn(LookThrough());
}

std::vector<QueueId> DelayWatch::NextLate(size_t* cursor, QueueId before, bool* more) {
  std::vector<QueueId> late;
  *more = context_->scheduler->Sweep(cursor, kJobsAtOnce, [&](queue::Job* job) {
    // Held mail is meant to wait. What is in delivery is spoken of at its end.
    const bool waits =
        job->state == queue::Job::State::kReady || job->state == queue::Job::State::kDeferred;
    if (waits && job->id >= looked_until_ && job->id < before) late.push_back(job->id);
  });
  return late;
}

Task<void> DelayWatch::LookThrough() {
  const absl::Duration time = context_->settings->bounces.delay_warning_time;
  const QueueId before = FirstIdOf(context_->loop->wall() - time);
  size_t cursor = 0;
  bool more = looked_until_ < before;
  while (more && !stopped_) {
    const std::vector<QueueId> late = NextLate(&cursor, before, &more);
    for (size_t i = 0; i < late.size() && !stopped_; ++i) {
      co_await Tell(late[i]);
      if (i % kTellsAtOnce != kTellsAtOnce - 1) continue;
      co_await SleepUntil(context_->loop, context_->loop->now() + kTellPause);
    }
    co_await SleepUntil(context_->loop, context_->loop->now() + kTurn);
  }
  if (!stopped_) looked_until_ = std::max(looked_until_, before);
  looking_ = false;
  Arm();
}

Task<std::shared_ptr<QueuedMessage>> DelayWatch::Find(QueueId id) {
  std::shared_ptr<QueuedMessage> message = memory_->Find(id);
  while (message == nullptr && !memory_->may_load() && !stopped_) {
    co_await SleepUntil(context_->loop, context_->loop->now() + kTurn);
    message = memory_->Find(id);
  }
  if (message != nullptr || stopped_) co_return message;
  OneShot<absl::StatusOr<std::shared_ptr<QueuedMessage>>> answer(context_->loop);
  memory_->Load(id, [&answer](absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
    answer.Set(std::move(found));
  });
  absl::StatusOr<std::shared_ptr<QueuedMessage>> found = co_await answer;
  // Gone meanwhile; or damaged, which its delivery will find.
  if (!found.ok()) co_return nullptr;
  co_return *std::move(found);
}

Task<void> DelayWatch::Tell(QueueId id) {
  if (context_->scheduler->Find(id) == nullptr) co_return;  // Ended meanwhile.
  std::shared_ptr<QueuedMessage> message = co_await Find(id);
  if (message == nullptr || stopped_) co_return;
  std::string why = ReasonOf(*message);
  co_await recorder_->WarnOfDelay(std::move(message), std::move(why));
}

std::string DelayWatch::ReasonOf(const QueuedMessage& message) const {
  const queue::Envelope& envelope = message.envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (!message.pending(i)) continue;
    const queue::NexthopQueue* nexthop =
        context_->scheduler->FindNexthop(NexthopOf(envelope, i, *context_->settings));
    if (nexthop != nullptr && nexthop->suspended(context_->loop->now())) {
      return fmt::format("delivery temporarily suspended: {}", nexthop->suspend_reason());
    }
  }
  const std::string& last = message.retry().last_reason;
  return last.empty() ? "waiting in the queue" : last;
}

}  // namespace mailrace::engine
