#include "engine/parked_expiry.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/sync.h"
#include "engine/parking.h"

namespace mailrace::engine {

namespace {

// Of one walk, and the time that others have to read then.
constexpr size_t kMessagesAtOnce = 512;
constexpr absl::Duration kSlicePause = absl::Milliseconds(20);

}  // namespace

// Shared with the thread that reads the store.
struct ParkedExpiry::Slice {
  QueueId from;
  QueueId before;
  ShardShare share;
  absl::Time now;
  std::vector<queue::RecoveredMessage> old;  // Due, not held.
  std::optional<QueueId> next;

  absl::Status Read(queue::Store* store) {
    const auto look = [this](QueueId id, absl::StatusOr<queue::RecoveredMessage> found) {
      if (!found.ok() || id >= before || !share.Owns(id)) return;
      if (found->has_retry && (found->retry.held || found->retry.next_attempt > now)) return;
      old.push_back(*std::move(found));
    };
    const absl::StatusOr<std::optional<QueueId>> read = store->Scan(from, kMessagesAtOnce, look);
    if (!read.ok()) return read.status();
    next = *read;
    if (next && *next >= before) next.reset();
    return absl::OkStatus();
  }
};

void ParkedExpiry::Start() {
  if (under_way_ || stopped_ || context_->parking->empty()) return;
  under_way_ = true;
  context_->tasks->Spawn(Round());
}

Task<void> ParkedExpiry::Round() {
  const queue::RetrySchedule& retry = context_->settings->retry;
  const QueueId before =
      context_->ages->YoungerFrom(std::min(retry.lifetime, retry.bounce_lifetime));
  std::optional<QueueId> from = QueueId{0};
  while (from && !stopped_) {
    auto slice = std::make_shared<Slice>();
    slice->from = *from;
    slice->before = before;
    slice->share = context_->parking->share();
    slice->now = context_->loop->wall();
    OneShot<absl::Status> answer(context_->loop);
    context_->reader->Walk([slice](queue::Store* store) { return slice->Read(store); },
                           [&answer](absl::Status status) { answer.Set(std::move(status)); });
    const absl::Status status = co_await answer;
    if (!status.ok()) break;  // The next probe begins another round.
    from = slice->next;
    size_t given_up = 0;
    for (size_t i = 0; i < slice->old.size() && !stopped_; ++i) {
      if (!IsOver(slice->old[i])) continue;
      co_await GiveUp(slice->old[i].envelope.id);
      if (++given_up % ExpirySweep::kGiveUpsAtOnce != 0) continue;
      co_await SleepUntil(context_->loop, context_->loop->now() + ExpirySweep::kPause);
    }
    co_await SleepUntil(context_->loop, context_->loop->now() + kSlicePause);
  }
  under_way_ = false;
}

bool ParkedExpiry::IsOver(const queue::RecoveredMessage& message) const {
  if (!context_->ages->Expired(message.envelope, context_->settings->retry)) return false;
  for (const RecoveredJob& job : context_->parking->ParkedJobs(message)) {
    const queue::NexthopQueue* const nexthop = context_->scheduler->FindNexthop(job.nexthop);
    if (nexthop != nullptr && ExpirySweep::IsDead(*nexthop, context_->loop->now())) return true;
  }
  return false;
}

Task<void> ParkedExpiry::GiveUp(QueueId id) {
  while (!memory_->may_load() && !stopped_) {
    co_await SleepUntil(context_->loop, context_->loop->now() + ExpirySweep::kPause);
  }
  if (stopped_) co_return;
  OneShot<bool> fetched(context_->loop);
  context_->parking->Fetch(id, [this, id, &fetched](const absl::Status& read) {
    const MonoTime now = context_->loop->now();
    context_->scheduler->ForEachOf(id, [this, now, &read](queue::Job* job) {
      const bool waits =
          job->state == queue::Job::State::kReady || job->state == queue::Job::State::kDeferred;
      if (read.ok() && waits && ExpirySweep::IsDead(*job->nexthop, now)) sweep_->GiveUp(job);
    });
    fetched.Set(true);
  });
  co_await fetched;
}

}  // namespace mailrace::engine
