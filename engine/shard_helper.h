// The threads that do for the shards what would keep them from their turn: one derives
// keys, one fetches tokens. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "base/helper.h"
#include "base/shard_post.h"
#include "engine/tokens/token_store.h"

namespace mailrace::engine {

class HelperThread {
 public:
  // `name` is what the system calls the thread.
  explicit HelperThread(const char* name);
  // What runs is waited for; what has not begun never does.
  ~HelperThread();
  void Enqueue(std::function<void()> work);
  // Somebody waits for the thread's end: long work gives up.
  bool stopping() const;
  void RequestStop();

 private:
  void Run();
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> work_;  // Guarded by mutex_.
  bool stopping_ = false;                   // Guarded by mutex_.
  std::thread thread_;
};

// One shard's view of a thread.
class ShardHelper final : public Helper {
 public:
  ShardHelper(HelperThread* thread, ShardPost* shard) : thread_(thread), shard_(shard) {}
  void Run(std::function<void()> work, std::function<void()> done) override;

 private:
  HelperThread* const thread_;
  ShardPost* const shard_;
};

// One shard's way to the tokens. Lives on the shard.
class ShardTokens {
 public:
  // `store` is touched by `helper`'s work only. Both are borrowed.
  ShardTokens(Loop* loop, Helper* helper, tokens::TokenStore* store)
      : loop_(loop), helper_(helper), store_(store) {}

  // As TokenStore::Get. Cancelled after Cancel().
  Task<absl::StatusOr<std::string>> Get(tokens::TokenSpec spec, std::string refused);
  // For shutting down: whoever waits for a command does so no longer.
  void Cancel();

 private:
  struct Wait;
  void Answer(uint64_t number, absl::StatusOr<std::string> token);
  Loop* const loop_;
  Helper* const helper_;
  tokens::TokenStore* const store_;
  std::list<Wait*> waiting_;
  uint64_t waits_ = 0;
  bool cancelled_ = false;
};

}  // namespace mailrace::engine
