// Which jobs of a shard are in memory and which are parked in the store. Memory for jobs
// has a limit (a share of queue_memory_limit); what is beyond it stays in the store and
// comes back as others end. Lives on one shard.
//
// Who may be in memory:
// - A nexthop may have three times as many jobs as there is room left, so that one alone
//   takes three quarters, two dead ones three sevenths each, and there is always room for
//   others; one job of a nexthop that has none to try always, urgent arrivals up to an eighth above
//   the limit.
// - While older mail for a nexthop is parked, its arrivals take at most every second
//   place: the others are filled up from the store, oldest first.
// - Deferred and held jobs only fill the first half; beyond, a deferral that is over a
//   minute away is parked as soon as it is durable.
//
// What is read from the store may be out of date by the time that it is here: of each find
// it is asked whether it changed since (engine/recent_changes), whether its message is in
// memory and says otherwise, whether it is being removed. So no job comes back that has
// ended, and none twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/loop.h"
#include "engine/backlog.h"
#include "engine/backlog_scan.h"
#include "engine/message_memory.h"
#include "engine/recent_changes.h"
#include "engine/recovered_job.h"
#include "engine/shard_context.h"
#include "queue/scheduler.h"

namespace mailrace::engine {

class Parking {
 public:
  // Borrowed; outlive it. `pump`: this nexthop got jobs. `highest_id`: of the store at
  // start.
  Parking(ShardContext* context, MessageMemory* memory, uint64_t highest_id,
          std::function<void(queue::NexthopQueue*)> pump);
  ~Parking();
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  enum class Origin : uint8_t { kArrival, kStore };
  // A new job into memory, or into the backlog (null). `message`: to go on with from
  // memory; may be null.
  queue::Job* Place(const RecoveredJob& job, std::shared_ptr<QueuedMessage> message, Origin origin);

  // --- What the scheduler and the recorder tell. ---
  void JobEnded(const queue::Job& job);
  // Outcomes of this message are on the disk: all that are known if `latest`. Then its
  // waiting jobs need no message, and may be parked.
  void Recorded(const std::shared_ptr<QueuedMessage>& message, bool latest);

  // --- Wishes. ---
  void Flush();
  // Settings were replaced: `routes_changed` if recipients may have other nexthops now.
  void Reload(bool routes_changed, QueueId last_id);
  // While the queue is being found at start nothing is brought back.
  void set_recovering(bool recovering);
  // No more mail is brought back.
  void Stop() { stopped_ = true; }

  // --- The operator, and those who look after mail that nobody tries. ---
  // Whether jobs of this message may be parked here.
  bool MayHave(QueueId id) const { return !backlog_.empty() && share_.Owns(id); }
  // Which jobs of a message, as the store has it, are parked; as of that moment.
  std::vector<RecoveredJob> ParkedJobs(const queue::RecoveredMessage& message) const;
  // The same without asking first whether anything is parked at all: who checks counts().
  std::vector<RecoveredJob> JobsNotInMemory(const queue::RecoveredMessage& message) const;
  // Parked jobs of this message come into memory, whatever room there is, so that one can
  // do to them what one does to others; none is tried before `then` has returned. Those to
  // which nothing was done go back. `then` hears why the store could not be read: which jobs
  // are parked is not known then. A message that the store has not is none.
  using Then = std::function<void(const absl::Status&)>;
  void Fetch(QueueId id, Then then);
  // Its records are being removed: it is not to be brought back until they are gone.
  void Leaving(QueueId id) { leaving_.insert(id.value); }
  void Left(QueueId id) { leaving_.erase(id.value); }
  // There is no room: what can wait elsewhere should.
  bool crowded() const;
  // Whose mail of the store is this shard's.
  const ShardShare& share() const { return share_; }

  // Exact, but for what a reload makes us find again.
  Backlog::Counts counts() const;
  bool rediscovering() const { return rediscover_from_.has_value(); }
  // Of a nexthop; it is said to be deferred as long as that is suspended.
  size_t parked_ready(std::string_view nexthop) const {
    return context_->settings->delivery_deferred ? 0 : backlog_.ReadyOf(nexthop);
  }
  bool empty() const { return backlog_.empty(); }
  // How often jobs were parked since the start.
  uint64_t parkings() const { return parkings_; }
  size_t jobs_in_memory() const;

 private:
  Backlog::Room RoomOf(std::string_view nexthop) const;
  bool MayEnter(const RecoveredJob& job, bool waits, Origin origin) const;
  MonoTime DueOf(const RecoveredJob& job) const;
  queue::Job* Add(const RecoveredJob& job, std::shared_ptr<QueuedMessage> message, MonoTime due);
  void Park(const RecoveredJob& job, MonoTime due);
  void ParkWaiting(const std::shared_ptr<QueuedMessage>& message);
  void LookAgain(const QueuedMessage& message);
  bool HasDouble(const queue::Job& job) const;
  struct Fetched {
    RecoveredJob job;
    MonoTime due;
  };
  std::optional<std::vector<Fetched>> Unpark(const queue::RecoveredMessage& message,
                                             RecentChanges::Reading reading);
  void ParkUnchanged(const std::vector<Fetched>& fetched);
  bool InMemory(QueueId id, std::string_view nexthop) const;
  bool IsOver(const RecoveredJob& find) const;
  bool IsTried(const RecoveredJob& find) const;
  bool HasUnchosen(const RecoveredJob& find) const;
  bool AwaitsRediscovery(QueueId id) const {
    return rediscover_from_ && id >= *rediscover_from_ && id <= rediscover_to_;
  }
  void LookAt(MonoTime when);
  void Look();
  struct Asked;
  void Ask(BacklogScan scan);
  void Answer(const Asked& asked, const absl::Status& status);
  void TakeFinds(const Asked& asked);
  void TakeRediscovered(const Asked& asked);
  void RemoveRerouted(const std::vector<RecoveredJob>& finds, size_t first);

  ShardContext* const context_;
  MessageMemory* const memory_;
  const ShardShare share_;
  const std::function<void(queue::NexthopQueue*)> pump_;
  Backlog backlog_;
  CallbackTimer look_;
  uint64_t parkings_ = 0;
  uint64_t generation_ = 0;  // Answers to an older one are not used.
  bool asking_ = false;
  bool failed_ = false;  // The last scan: said once.
  bool recovering_ = false;
  bool stopped_ = false;
  // Jobs that ended, were parked or became history on the disk while the store is read.
  RecentChanges changes_;
  absl::flat_hash_set<uint64_t> leaving_;  // Bounded by the changes on their way to the disk.
  // Rediscovery: from where on, up to where. What it has not come to is not parked: it
  // would be found once more.
  std::optional<QueueId> rediscover_from_;
  QueueId rediscover_to_;
};

}  // namespace mailrace::engine
