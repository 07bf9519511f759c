// The thread that reads the store for the shards.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/shard_post.h"
#include "engine/content_reader.h"
#include "queue/store.h"

namespace mailrace::engine {

// Thread-safe. Requests are bounded by the shards: each has a limited number of
// messages being loaded.
class StoreReadThread {
 public:
  explicit StoreReadThread(queue::Store* store);  // Borrowed.
  ~StoreReadThread();
  void Enqueue(std::function<void(queue::Store*)> work);

 private:
  void Run();
  queue::Store* const store_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void(queue::Store*)>> work_;  // Guarded by mutex_.
  bool stopping_ = false;                                // Guarded by mutex_.
  std::thread thread_;
};

// One shard's view of it.
class ShardStoreReader final : public ContentReader {
 public:
  ShardStoreReader(StoreReadThread* thread, ShardPost* shard) : thread_(thread), shard_(shard) {}
  void ReadMessage(QueueId id,
                   std::function<void(absl::StatusOr<queue::RecoveredMessage>)> answer) override;
  void ReadChunk(QueueId id, uint32_t chunk,
                 std::function<void(absl::StatusOr<std::string>)> answer) override;
  void Walk(std::function<absl::Status(queue::Store*)> work,
            std::function<void(absl::Status)> answer) override;

 private:
  StoreReadThread* const thread_;
  ShardPost* const shard_;
};

}  // namespace mailrace::engine
