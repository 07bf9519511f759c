#include "engine/shard_inbox.h"

namespace mailrace::engine {

void ShardInbox::Post(std::function<void()> call) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(call));
  }
  // A later post finds the wake-up already on its way.
  if (first) wake_();
}

void ShardInbox::Drain() {
  {
    const std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (std::function<void()>& call : running_) call();
  running_.clear();
}

}  // namespace mailrace::engine
