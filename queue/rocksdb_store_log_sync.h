// When what was appended to the newest log would survive a power cut: the log is synced, and so
// is its name. RocksDB says so only when it has put the records into its memtables as well, for
// which nobody need wait: they are found in the log. Thread-safe but for Expect() and Forget().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

namespace mailrace::queue {

class LogSync {
 public:
  // The calling thread is about to append records to the newest log and to sync it: `durable` is
  // called, once, in the sync that makes them durable. Not called where that is not known
  // before Forget(): the log grows, its name is not synced yet, the sync failed.
  void Expect(std::function<void()> durable);
  void Forget();

  // --- What the file system tells. ---
  void Made(uint64_t log) { newest_.store(log); }
  void Appended(uint64_t log);
  void Synced(uint64_t log);
  // Around the sync of the logs' directory: newest() before, Named() of that if it succeeded.
  uint64_t newest() const { return newest_.load(); }
  void Named(uint64_t log);

 private:
  bool expected_here() const { return thread_.load() == std::this_thread::get_id(); }

  std::atomic<uint64_t> newest_{0};
  std::atomic<uint64_t> named_{0};  // The name of this log, and of all before it, is synced.
  // Who expects. The rest is that thread's alone.
  std::atomic<std::thread::id> thread_{};
  std::function<void()> durable_;
  uint64_t appended_ = 0;  // The log with the last of the records.
};

}  // namespace mailrace::queue
