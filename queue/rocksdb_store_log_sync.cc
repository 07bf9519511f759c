#include "queue/rocksdb_store_log_sync.h"

#include <utility>

namespace mailrace::queue {

void LogSync::Expect(std::function<void()> durable) {
  durable_ = std::move(durable);
  appended_ = 0;
  thread_.store(std::this_thread::get_id());
}

void LogSync::Forget() {
  thread_.store(std::thread::id());
  durable_ = nullptr;
}

void LogSync::Appended(uint64_t log) {
  if (expected_here()) appended_ = log;
}

void LogSync::Synced(uint64_t log) {
  // Older logs are synced before the newest, where they are not yet.
  if (!expected_here() || log != appended_ || log != newest_.load() || log != named_.load()) return;
  const std::function<void()> durable = std::exchange(durable_, nullptr);
  if (durable != nullptr) durable();
}

void LogSync::Named(uint64_t log) {
  uint64_t known = named_.load();
  while (known < log && !named_.compare_exchange_weak(known, log)) {
  }
}

}  // namespace mailrace::queue
