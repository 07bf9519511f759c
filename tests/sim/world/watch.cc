#include "tests/sim/world/watch.h"

#include <algorithm>

#include "engine/message_memory.h"
#include "fmt/format.h"

namespace mailrace::sim {

namespace {

// What is to happen at once happens at the end of a millisecond.
constexpr absl::Duration kTimerTick = absl::Milliseconds(1);
// What one read of the store takes (SimReader's delay).
constexpr absl::Duration kReadMost = absl::Milliseconds(51);
constexpr absl::Duration kLookEvery = absl::Milliseconds(500);
constexpr absl::Duration kLookAtParkedEvery = absl::Seconds(30);

}  // namespace

void Watch::Look(const WatchLimits& limits, const std::vector<SocketAddress>& sites,
                 std::vector<std::string>* wrong) {
  LookAtLimits(limits, sites, wrong);
  // Before a long time without steps too: what is seen then stays so until the next step,
  // and what is seen at that was not so all the time.
  const MonoTime now = host_->loop().now();
  const MonoTime next_step = host_->loop().NextWake();
  if (now < next_look_ && next_step < next_look_) return;
  next_look_ = now + kLookEvery;
  LookAtDestinations(wrong);
  LookAtCounts(wrong);
  if (now < next_look_at_parked_ && next_step < next_look_at_parked_) return;
  next_look_at_parked_ = now + kLookAtParkedEvery;
  LookAtParked(wrong);
}

void Watch::LookAtLimits(const WatchLimits& limits, const std::vector<SocketAddress>& sites,
                         std::vector<std::string>* wrong) const {
  for (const SocketAddress& site : sites) {
    const size_t open = host_->network().open_to(site);
    if (open <= limits.sessions_most) continue;
    wrong->push_back(fmt::format("{} sessions with {}, {} are allowed", open, site.ToString(),
                                 limits.sessions_most));
  }
  // Beyond its budget a shard holds what is being sent, what is being recorded, and the
  // one message that it has just accepted.
  for (int i = 0; i < host_->shards(); ++i) {
    const uint64_t octets = host_->shard(i).stats().memory_octets.value();
    if (octets <= limits.memory_octets_most) continue;
    const uint64_t held =
        host_->shard(i).scheduler().counts().in_flight + host_->committer().pending() + 1;
    const bool disk_is_well = host_->loop().now() - host_->committer().last_failure() > kIdleMost;
    if (!disk_is_well) continue;
    const uint64_t most = limits.memory_octets_most + held * limits.message_octets_most;
    if (octets > most) wrong->push_back(fmt::format("{} octets in memory, not {}", octets, most));
  }
}

// While one job goes another may come, and a flight may lie between two looks: at a rate the
// line tells nothing. But the next turn must be on its way, and the loop know of it.
// Or the turn has come, and waits for others to be read back: memory may have room for one.
bool Watch::WaitsForRate(engine::Shard* shard) const {
  const queue::Scheduler& scheduler = shard->scheduler();
  const MonoTime turn = scheduler.NextWake();
  const bool others_are_read = scheduler.limits().rate_delay > absl::ZeroDuration() &&
                               !shard->context().memory->may_load(/*octets_max=*/1);
  if (others_are_read && host_->loop().NextWake() <= host_->loop().now() + kReadMost) return true;
  return turn <= host_->loop().now() + scheduler.limits().rate_delay &&
         host_->loop().NextWake() <= std::max(turn, host_->loop().now()) + kTimerTick;
}

void Watch::LookAtDestinations(std::vector<std::string>* wrong) {
  const MonoTime now = host_->loop().now();
  const bool disk_is_well = now - host_->committer().last_failure() > kIdleMost;
  std::map<std::pair<int, std::string>, Idle> idle;
  for (int i = 0; i < host_->shards(); ++i) {
    queue::Scheduler& scheduler = host_->shard(i).scheduler();
    const MonoTime overdue = overdue_.try_emplace(i, now).first->second;
    if (scheduler.NextWake() > now) overdue_.erase(i);
    if (overdue_.contains(i) && now - overdue > kIdleMost) {
      wrong->push_back(fmt::format("stuck: nobody wakes the queue since {}",
                                   absl::FormatDuration(now - overdue)));
    }
    scheduler.ForEachNexthop([&](queue::NexthopQueue& nexthop) {
      if (!disk_is_well || nexthop.ready() == 0 || nexthop.in_flight() > 0) return;
      if (nexthop.suspended(now)) return;
      const std::pair<int, std::string> key(i, nexthop.name());
      const auto known = idle_.find(key);
      const bool goes_on = known == idle_.end() || nexthop.ready() < known->second.ready;
      const MonoTime since = goes_on ? now : known->second.since;
      idle[key] = {since, nexthop.ready()};
      if (now - since <= kIdleMost || WaitsForRate(&host_->shard(i))) return;
      wrong->push_back(fmt::format("stuck: {} messages ready for {} since {}, none is sent",
                                   nexthop.ready(), nexthop.name(),
                                   absl::FormatDuration(now - since)));
    });
  }
  idle_ = std::move(idle);
}

// What the disk has, and nobody in memory, and could be sent: it must not stay so.
void Watch::LookAtParked(std::vector<std::string>* wrong) {
  const MonoTime now = host_->loop().now();
  const absl::Time wall = host_->clock().Wall();
  const absl::Duration offset = wall - absl::UnixEpoch() - absl::Nanoseconds(now.nanos);
  if (absl::AbsDuration(offset - clock_offset_) > absl::Seconds(1)) clock_was_set_ = now;
  clock_offset_ = offset;
  std::map<std::pair<QueueId, std::string>, MonoTime> waiting;
  const auto look = [&](engine::Shard* shard, const queue::RecoveredMessage& message) {
    const engine::ShardContext& context = shard->context();
    // Due times are kept by the monotonic clock: when the other was set they come later.
    if (now - clock_was_set_ < context.settings->retry.maximal_backoff + kParkedMost) return;
    if (context.settings->delivery_deferred) return;
    if (context.memory->Find(message.envelope.id) != nullptr) return;
    for (const engine::RecoveredJob& job : shard->parking().ParkedJobs(message)) {
      queue::NexthopQueue* const nexthop = context.scheduler->FindNexthop(job.nexthop);
      const bool busy = nexthop != nullptr && (nexthop->suspended(now) || nexthop->ready() > 0 ||
                                               nexthop->in_flight() > 0);
      if (busy || job.held || job.next_attempt > wall) continue;
      const std::pair<QueueId, std::string> key(job.id, job.nexthop);
      const auto known = waiting_.find(key);
      const MonoTime since = known == waiting_.end() ? now : known->second;
      waiting[key] = since;
      if (now - since <= kParkedMost) continue;
      wrong->push_back(fmt::format("stuck: {} is parked for {} since {}", job.id.ToString(),
                                   job.nexthop, absl::FormatDuration(now - since)));
    }
  };
  std::vector<size_t> parked(static_cast<size_t>(host_->shards()));
  const auto visit = [&](QueueId id, const absl::StatusOr<queue::RecoveredMessage>& message) {
    for (int i = 0; i < host_->shards() && message.ok(); ++i) {
      engine::Shard& shard = host_->shard(i);
      if (!shard.parking().share().Owns(id)) continue;
      look(&shard, *message);
      parked[static_cast<size_t>(i)] += shard.parking().JobsNotInMemory(*message).size();
    }
  };
  if (!host_->store().Scan(QueueId{0}, SIZE_MAX, visit).ok()) return;
  waiting_ = std::move(waiting);
  for (int i = 0; i < host_->shards(); ++i) {
    const engine::Parking& parking = host_->shard(i).parking();
    const size_t said = parking.counts().total();
    if (parking.rediscovering() || said == parked[static_cast<size_t>(i)]) continue;
    wrong->push_back(
        fmt::format("{} jobs are parked, it says {}", parked[static_cast<size_t>(i)], said));
  }
}

void Watch::LookAtCounts(std::vector<std::string>* wrong) const {
  for (int i = 0; i < host_->shards(); ++i) {
    queue::Scheduler& scheduler = host_->shard(i).scheduler();
    queue::Scheduler::Counts found;
    scheduler.ForEach([&found](const queue::Job& job) {
      switch (job.state) {
        case queue::Job::State::kReady:
          ++found.ready;
          break;
        case queue::Job::State::kDeferred:
          ++found.deferred;
          break;
        case queue::Job::State::kHeld:
          ++found.held;
          break;
        case queue::Job::State::kInFlight:
          ++found.in_flight;
          break;
      }
    });
    size_t jobs = 0;
    size_t in_flight = 0;
    scheduler.ForEachNexthop([&](queue::NexthopQueue& nexthop) {
      jobs += nexthop.jobs();
      in_flight += nexthop.in_flight();
    });
    const queue::Scheduler::Counts said = scheduler.counts();
    const bool same = said.ready == found.ready && said.deferred == found.deferred &&
                      said.held == found.held && said.in_flight == found.in_flight &&
                      in_flight == found.in_flight &&
                      jobs == found.ready + found.deferred + found.held + found.in_flight;
    if (!same) wrong->push_back("the scheduler's counts are not those of its jobs");
  }
}

}  // namespace mailrace::sim
