#include "engine/shard_store_reader.h"

#include <pthread.h>

#include <memory>
#include <utility>

namespace mailrace::engine {

StoreReadThread::StoreReadThread(queue::Store* store) : store_(store), thread_([this] { Run(); }) {}

StoreReadThread::~StoreReadThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StoreReadThread::Enqueue(std::function<void(queue::Store*)> work) {
  {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void StoreReadThread::Run() {
  pthread_setname_np(pthread_self(), "store-reader");
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
    if (work_.empty()) return;
    std::function<void(queue::Store*)> work = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    work(store_);
    lock.lock();
  }
}

void ShardStoreReader::ReadMessage(
    QueueId id, std::function<void(absl::StatusOr<queue::RecoveredMessage>)> answer) {
  thread_->Enqueue([id, shard = shard_, answer = std::move(answer)](queue::Store* store) mutable {
    auto result = std::make_shared<absl::StatusOr<queue::RecoveredMessage>>(store->ReadMessage(id));
    shard->Post([answer = std::move(answer), result] { answer(std::move(*result)); });
  });
}

void ShardStoreReader::ReadChunk(QueueId id, uint32_t chunk,
                                 std::function<void(absl::StatusOr<std::string>)> answer) {
  thread_->Enqueue(
      [id, chunk, shard = shard_, answer = std::move(answer)](queue::Store* store) mutable {
        auto result = std::make_shared<absl::StatusOr<std::string>>(store->ReadChunk(id, chunk));
        shard->Post([answer = std::move(answer), result] { answer(std::move(*result)); });
      });
}

void ShardStoreReader::Walk(std::function<absl::Status(queue::Store*)> work,
                            std::function<void(absl::Status)> answer) {
  thread_->Enqueue([work = std::move(work), shard = shard_,
                    answer = std::move(answer)](queue::Store* store) mutable {
    auto result = std::make_shared<absl::Status>(work(store));
    shard->Post([answer = std::move(answer), result] { answer(std::move(*result)); });
  });
}

}  // namespace mailrace::engine
