#include "engine/delay_watch.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/sync.h"
#include "engine/parking.h"
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

// Messages of one walk over the store.
constexpr size_t kMessagesAtOnce = 1024;

// A slice of the store, shared with the thread that reads it.
struct Slice {
  QueueId from;
  QueueId before;
  ShardShare share;
  std::vector<QueueId> late;
  std::optional<QueueId> next;
};

absl::Status FindLate(queue::Store* store, Slice* slice) {
  const auto look = [slice](QueueId id, const absl::StatusOr<queue::RecoveredMessage>& found) {
    if (!found.ok() || id >= slice->before || !slice->share.Owns(id)) return;
    const bool told = found->has_retry && (found->retry.delay_warning_sent || found->retry.held);
    if (!told) slice->late.push_back(id);
  };
  absl::StatusOr<std::optional<QueueId>> next = store->Scan(slice->from, kMessagesAtOnce, look);
  if (!next.ok()) return next.status();
  slice->next = *next;
  if (slice->next && *slice->next >= slice->before) slice->next.reset();
  return absl::OkStatus();
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
  const QueueId before = QueueIdSource::FirstAt(context_->loop->wall() - time);
  const Parking& parking = *context_->parking;
  const uint64_t parkings = parking.parkings();
  bool complete = true;
  if (looked_until_ < before) {
    if (parking.empty()) co_await LookThroughMemory(before);
    // What is parked while others are looked at is not missed.
    if (!parking.empty() || parking.parkings() != parkings) {
      complete = co_await LookThroughStore(before);
    }
  }
  if (!stopped_ && complete) looked_until_ = std::max(looked_until_, before);
  looking_ = false;
  Arm();
}

Task<void> DelayWatch::LookThroughMemory(QueueId before) {
  size_t cursor = 0;
  bool more = true;
  while (more && !stopped_) {
    std::vector<QueueId> late = NextLate(&cursor, before, &more);
    co_await TellAll(std::move(late));
    co_await SleepUntil(context_->loop, context_->loop->now() + kTurn);
  }
}

Task<bool> DelayWatch::LookThroughStore(QueueId before) {
  std::optional<QueueId> from = looked_until_;
  while (from && !stopped_) {
    auto slice = std::make_shared<Slice>();
    slice->from = *from;
    slice->before = before;
    slice->share = context_->parking->share();
    OneShot<absl::Status> answer(context_->loop);
    context_->reader->Walk([slice](queue::Store* store) { return FindLate(store, slice.get()); },
                           [&answer](absl::Status status) { answer.Set(std::move(status)); });
    const absl::Status status = co_await answer;
    if (!status.ok()) co_return false;
    from = slice->next;
    co_await TellAll(std::move(slice->late));
    co_await SleepUntil(context_->loop, context_->loop->now() + kTellPause);
  }
  co_return true;
}

Task<void> DelayWatch::TellAll(std::vector<QueueId> late) {
  for (size_t i = 0; i < late.size() && !stopped_; ++i) {
    co_await Tell(late[i]);
    if (i % kTellsAtOnce != kTellsAtOnce - 1) continue;
    co_await SleepUntil(context_->loop, context_->loop->now() + kTellPause);
  }
}

// What is in delivery is spoken of at its end; held mail is meant to wait.
bool DelayWatch::Waits(QueueId id) const {
  bool in_memory = false;
  bool waits = false;
  context_->scheduler->ForEachOf(id, [&](queue::Job* job) {
    in_memory = true;
    waits = waits || job->state == queue::Job::State::kReady ||
            job->state == queue::Job::State::kDeferred;
  });
  return waits || (!in_memory && context_->parking->MayHave(id));
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
  if (!Waits(id)) co_return;  // Ended meanwhile.
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
