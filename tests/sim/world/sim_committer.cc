#include "tests/sim/world/sim_committer.h"

#include <utility>
#include <vector>

namespace mailrace::sim {

void SimSink::Committed(std::span<queue::CommitRequest* const> finished) {
  for (queue::CommitRequest* request : finished) request->Done();
}

SimCommitter::SimCommitter(Loop* loop, Random* random, queue::Store* store)
    : loop_(loop), random_(random), store_(store), sync_([this] { Sync(); }) {}

void SimCommitter::Submit(queue::CommitRequest* request) {
  pending_.push_back(request);
  if (sync_.armed()) return;
  absl::Duration delay;
  if (!dead_ && delay_max_ > absl::ZeroDuration()) {
    delay = absl::Microseconds(static_cast<int64_t>(
        random_->Below(static_cast<uint64_t>(absl::ToInt64Microseconds(delay_max_)) + 1)));
  }
  loop_->timers().Arm(&sync_, loop_->now() + delay);
}

absl::Status SimCommitter::Write(const std::deque<queue::CommitRequest*>& group) {
  std::vector<const queue::WriteSet*> sets;
  std::deque<queue::WriteSet> tampered;
  for (const queue::CommitRequest* request : group) {
    std::optional<queue::WriteSet> instead;
    if (tamper_ != nullptr) instead = tamper_(request->writes);
    if (instead) tampered.push_back(*std::move(instead));
    sets.push_back(instead ? &tampered.back() : &request->writes);
  }
  const absl::Status status = store_->Commit(sets);
  if (status.ok()) {
    if (committed_ != nullptr) committed_(sets);
    return status;
  }
  last_failure_ = loop_->now();
  // Only the first is in doubt: afterwards the store takes nothing any more.
  const bool first = !store_dead_ && !absl::IsResourceExhausted(status);
  if (first && doubtful_ != nullptr) doubtful_(sets);
  store_dead_ = store_dead_ || first;
  return status;
}

void SimCommitter::Sync() {
  std::deque<queue::CommitRequest*> group = std::exchange(pending_, {});
  absl::Status status;
  if (!dead_) status = Write(group);
  for (queue::CommitRequest* request : group) request->status = status;
  Return(std::move(group));
}

void SimCommitter::Return(std::deque<queue::CommitRequest*> group) {
  while (!group.empty()) {
    // Once a group and sink; the requests may be gone afterwards.
    queue::CommitSink* sink = group.front()->sink;
    std::vector<queue::CommitRequest*> mine;
    std::deque<queue::CommitRequest*> others;
    for (queue::CommitRequest* request : group) {
      if (request->sink == sink) {
        mine.push_back(request);
      } else {
        others.push_back(request);
      }
    }
    sink->Committed(mine);
    group = std::move(others);
  }
}

void SimCommitter::Crash() {
  // Whether it was written nobody will ever be told.
  if (!dead_ && !pending_.empty() && random_->Below(2) == 0) Write(pending_).IgnoreError();
  dead_ = true;
}

}  // namespace mailrace::sim
