// The only way from another thread into a shard: calls that the shard makes on its own
// thread at its next turn. Thread-safe to post to.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "base/shard_post.h"

namespace mailrace::engine {

class ShardInbox final : public ShardPost {
 public:
  // `wake` makes the shard's loop turn; called from any thread, once per batch.
  explicit ShardInbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Post(std::function<void()> call) override;

  // On the shard: runs everything posted so far, in order.
  void Drain();

 private:
  const std::function<void()> wake_;
  std::vector<std::function<void()>> running_;  // The shard's own.
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // Guarded by mutex_.
};

}  // namespace mailrace::engine
