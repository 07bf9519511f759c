// Work that would keep a shard from its turn (invariant I8), done on another thread: key
// derivation, a command's output. A simulation does it at once.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"

namespace mailrace {

class Helper {
 public:
  virtual ~Helper() = default;
  // `work` runs on the helper's thread, one after the other; then `done` on the asking
  // shard, from its loop. Both are called, unless the process ends first.
  virtual void Run(std::function<void()> work, std::function<void()> done) = 0;
  // The same, but only works of one `key` are done one after the other: those of different
  // keys need not wait for each other.
  virtual void RunFor(const std::string& /*key*/, std::function<void()> work,
                      std::function<void()> done) {
    Run(std::move(work), std::move(done));
  }
};

// Awaits `work`. `helper` may be null: then it is done here.
inline Task<void> RunElsewhere(Helper* helper, Loop* loop, std::function<void()> work) {
  if (helper == nullptr) {
    work();
    co_return;
  }
  OneShot<bool> done(loop);
  helper->Run(std::move(work), [&done] { done.Set(true); });
  co_await done;
}

}  // namespace mailrace
