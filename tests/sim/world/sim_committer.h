// Group commit under a simulated clock: groups form while the pretended sync runs, fail
// when the store says so, and go back through their sinks on the one thread there is.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "base/loop.h"
#include "base/random.h"
#include "queue/group_commit.h"

namespace mailrace::sim {

// Calls Done() at once: shard and commit "thread" are the same thread here.
class SimSink final : public queue::CommitSink {
 public:
  void Committed(std::span<queue::CommitRequest* const> finished) override;
};

class SimCommitter final : public queue::Committer {
 public:
  using Group = std::span<const queue::WriteSet* const>;

  // Borrowed; outlive the committer.
  SimCommitter(Loop* loop, Random* random, queue::Store* store);
  SimCommitter(const SimCommitter&) = delete;
  SimCommitter& operator=(const SimCommitter&) = delete;
  // Gives back, uncommitted, what the shards no longer wait for.
  ~SimCommitter() override { Return(std::exchange(pending_, {})); }

  void Submit(queue::CommitRequest* request) override;

  // A sync takes up to this long.
  void set_delay_max(absl::Duration delay) { delay_max_ = delay; }
  // Hears of each group that the store took.
  void OnCommitted(std::function<void(Group)> hear) { committed_ = std::move(hear); }
  // Hears of the group whose sync failed: whether it was written nobody knows.
  void OnDoubtful(std::function<void(Group)> hear) { doubtful_ = std::move(hear); }
  // What is written instead of a set, which nobody is told of: the mutations that an
  // oracle must catch. Nothing: the set itself.
  using Tamper = std::function<std::optional<queue::WriteSet>(const queue::WriteSet&)>;
  void set_tamper(Tamper tamper) { tamper_ = std::move(tamper); }
  // The last time that a commit failed.
  MonoTime last_failure() const { return last_failure_; }
  size_t pending() const { return pending_.size(); }

  // The host is dead: of what was submitted a beginning may still reach the disk, by the
  // seed, and from now on everybody is told OK and nothing is written.
  void Crash();

 private:
  void Sync();
  absl::Status Write(const std::deque<queue::CommitRequest*>& group);
  void Return(std::deque<queue::CommitRequest*> group);

  Loop* const loop_;
  Random* const random_;
  queue::Store* const store_;
  CallbackTimer sync_;
  std::deque<queue::CommitRequest*> pending_;
  std::function<void(Group)> committed_;
  std::function<void(Group)> doubtful_;
  Tamper tamper_;
  absl::Duration delay_max_ = absl::Milliseconds(2);
  MonoTime last_failure_;
  bool dead_ = false;
  bool store_dead_ = false;
};

}  // namespace mailrace::sim
