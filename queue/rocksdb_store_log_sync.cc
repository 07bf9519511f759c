#include "queue/rocksdb_store_log_sync.h"

#include <utility>

namespace mailrace::queue {

void LogSync::Expect(std::function<void()> durable) {
  durable_ = std::move(durable);
  appended_ = 0;
  thread_.store(std::this_thread::get_id());
}

void LogSync::Forget(bool succeeded) {
  if (succeeded && appended_ != 0) settled_ = appended_;
  thread_.store(std::thread::id());
  durable_ = nullptr;
}

void LogSync::Appended(uint64_t log) {
  if (expected_here()) appended_ = log;
}

void LogSync::Synced(uint64_t log) {
  // Older logs are synced before the newest, where they are not yet.
  if (!expected_here() || log != appended_ || log != settled_ || log != newest_.load()) return;
  const std::function<void()> durable = std::exchange(durable_, nullptr);
  if (durable != nullptr) durable();
}

}  // namespace mailrace::queue
