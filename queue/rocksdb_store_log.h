// What RocksDB has to say, brought to our log. Without it RocksDB writes a file into
// the queue's file system and, as Debian builds it, aborts the process when that file
// cannot grow (reliability.md V5). Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/logger.h"
#include "rocksdb/env.h"
#include "rocksdb/listener.h"

namespace mailrace::queue {

class RocksdbInfoLog final : public rocksdb::Logger {
 public:
  // `logger` is borrowed, outlives this and may be null.
  explicit RocksdbInfoLog(mailrace::Logger* logger);

  // The first line that told of dropped or damaged records since the last Forget: it
  // names the file, which RocksDB's status often does not. Empty if none.
  std::string damage() const;
  void Forget();

  using rocksdb::Logger::Logv;
  void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override;
  void LogHeader(const char* format, va_list arguments) override;

 private:
  mailrace::Logger* const logger_;
  mutable std::mutex mutex_;
  std::string damage_;  // Guarded by mutex_.
};

// Counts what tables cost and tells when errors begin and end.
class RocksdbEvents final : public rocksdb::EventListener {
 public:
  explicit RocksdbEvents(mailrace::Logger* logger) : logger_(logger) {}

  uint64_t table_octets() const { return table_octets_.load(std::memory_order_relaxed); }

  void OnTableFileCreated(const rocksdb::TableFileCreationInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override;
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override;

 private:
  mailrace::Logger* const logger_;
  std::atomic<uint64_t> table_octets_{0};
};

}  // namespace mailrace::queue
