// When what was appended to the newest log would survive a power cut. RocksDB says so only when it
// has put the records into its memtables as well, for which nobody need wait: they are found in
// the log. Thread-safe but for Expect() and Forget().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

namespace mailrace::queue {

class LogSync {
 public:
  // The calling thread is about to write: to append records to the newest log and to sync it.
  // `durable` is called, once, in the sync that makes them durable, if RocksDB does nothing to the
  // disk after it that can fail: it would give up the log, and the records with it. So not in
  // the first write to a log, after which it syncs the directory.
  void Expect(std::function<void()> durable);
  // The write has ended.
  void Forget(bool succeeded);

  // --- What the file system tells. ---
  void Made(uint64_t log) { newest_.store(log); }
  void Appended(uint64_t log);
  void Synced(uint64_t log);

 private:
  bool expected_here() const { return thread_.load() == std::this_thread::get_id(); }

  std::atomic<uint64_t> newest_{0};
  // Who expects. The rest is that thread's alone.
  std::atomic<std::thread::id> thread_{};
  std::function<void()> durable_;
  uint64_t appended_ = 0;  // The log with the last of the records.
  uint64_t settled_ = 0;   // A write to this log succeeded: its name is synced.
};

}  // namespace mailrace::queue
