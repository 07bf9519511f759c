#include "engine/shard_helper.h"

#include <pthread.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace mailrace::engine {

HelperThreads::HelperThreads(const char* name, int count) {
  for (int i = 0; i < count; ++i) {
    threads_.emplace_back([this] { Run(); });
    pthread_setname_np(threads_.back().native_handle(), name);
  }
}

HelperThreads::~HelperThreads() {
  RequestStop();
  for (std::thread& thread : threads_) thread.join();
}

void HelperThreads::RequestStop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

bool HelperThreads::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void HelperThreads::Enqueue(std::string key, std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    work_.push_back({std::move(key), std::move(call)});
  }
  wake_.notify_one();
}

std::list<HelperThreads::Work>::iterator HelperThreads::Runnable() {
  return std::find_if(work_.begin(), work_.end(),
                      [this](const Work& work) { return !busy_.contains(work.key); });
}

void HelperThreads::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || Runnable() != work_.end(); });
    if (stopping_) return;
    const auto next = Runnable();
    Work work = std::move(*next);
    work_.erase(next);
    busy_.insert(work.key);
    lock.unlock();
    work.call();
    work.call = nullptr;  // What it holds is let go without the lock.
    lock.lock();
    busy_.erase(work.key);
    // Two may be runnable now: what waited for this key, and what waited for a thread.
    if (work_.size() > 1) wake_.notify_one();
  }
}

void ShardHelper::RunFor(const std::string& key, std::function<void()> work,
                         std::function<void()> done) {
  threads_->Enqueue(key,
                    [shard = shard_, work = std::move(work), done = std::move(done)]() mutable {
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
  const std::string source = spec.source;
  helper_->RunFor(
      source,
      [store = store_, spec = std::move(spec), refused = std::move(refused), result] {
        *result = store->Get(spec, refused);
      },
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
