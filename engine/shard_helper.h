// The threads that do for the shards what would keep them from their turn: one derives
// keys, a few fetch tokens. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/helper.h"
#include "base/shard_post.h"
#include "engine/tokens/token_store.h"

namespace mailrace::engine {

class HelperThreads {
 public:
  // `name` is what the system calls each of the `count` threads.
  explicit HelperThreads(const char* name, int count = 1);
  // What runs is waited for; what has not begun never does.
  ~HelperThreads();
  // Works of one `key` are done one at a time and in their order; those of another key wait
  // for a free thread only.
  void Enqueue(std::string key, std::function<void()> call);
  // Somebody waits for the thread's end: long work gives up.
  bool stopping() const;
  void RequestStop();

 private:
  struct Work {
    std::string key;
    std::function<void()> call;
  };
  void Run();
  // The first work whose key nobody is busy with.
  std::list<Work>::iterator Runnable();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::list<Work> work_;
  std::set<std::string> busy_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// One shard's view of such threads.
class ShardHelper final : public Helper {
 public:
  ShardHelper(HelperThreads* threads, ShardPost* shard) : threads_(threads), shard_(shard) {}
  void Run(std::function<void()> work, std::function<void()> done) override {
    RunFor("", std::move(work), std::move(done));
  }
  void RunFor(const std::string& key, std::function<void()> work,
              std::function<void()> done) override;

 private:
  HelperThreads* const threads_;
  ShardPost* const shard_;
};

// One shard's way to the tokens. Lives on the shard.
class ShardTokens {
 public:
  // A slow source keeps those waiting who want its own tokens. Both are borrowed.
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
