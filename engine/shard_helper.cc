#include "engine/shard_helper.h"

#include <pthread.h>

#include <optional>
#include <utility>

namespace mailrace::engine {

HelperThread::HelperThread(const char* name) : thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), name);
}

HelperThread::~HelperThread() {
  RequestStop();
  thread_.join();
}

void HelperThread::RequestStop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
}

bool HelperThread::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void HelperThread::Enqueue(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void HelperThread::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
    if (stopping_) return;
    std::function<void()> work = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // What it holds is let go without the lock.
    lock.lock();
  }
}

void ShardHelper::Run(std::function<void()> work, std::function<void()> done) {
  thread_->Enqueue([shard = shard_, work = std::move(work), done = std::move(done)]() mutable {
    work();
    shard->Post(std::move(done));
  });
}

// In the asking coroutine's frame; what comes after its end is not wanted any more.
struct ShardTokens::Wait {
  Wait(Loop* loop, uint64_t number) : number(number), answer(loop) {}
  const uint64_t number;
  OneShot<absl::StatusOr<std::string>> answer;
  bool answered = false;
};

Task<absl::StatusOr<std::string>> ShardTokens::Get(tokens::TokenSpec spec, std::string refused) {
  if (cancelled_) co_return absl::CancelledError("shutting down");
  using Result = std::optional<absl::StatusOr<std::string>>;
  auto result = std::make_shared<Result>();
  Wait wait(loop_, ++waits_);
  waiting_.push_back(&wait);
  helper_->Run([store = store_, spec = std::move(spec), refused = std::move(refused),
                result] { *result = store->Get(spec, refused); },
               [this, number = wait.number, result] { Answer(number, std::move(**result)); });
  absl::StatusOr<std::string> answer = co_await wait.answer;
  waiting_.remove(&wait);
  co_return answer;
}

void ShardTokens::Answer(uint64_t number, absl::StatusOr<std::string> token) {
  for (Wait* wait : waiting_) {
    if (wait->number != number || std::exchange(wait->answered, true)) continue;
    wait->answer.Set(std::move(token));
    return;
  }
}

void ShardTokens::Cancel() {
  cancelled_ = true;
  for (Wait* wait : waiting_) {
    if (std::exchange(wait->answered, true)) continue;
    wait->answer.Set(absl::CancelledError("shutting down"));
  }
}

}  // namespace mailrace::engine
