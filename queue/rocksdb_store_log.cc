#include "queue/rocksdb_store_log.h"

#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::queue {
namespace {

constexpr std::string_view kService = "queue";
constexpr size_t kLineOctetsMax = 1024;

}  // namespace

RocksdbInfoLog::RocksdbInfoLog(mailrace::Logger* logger)
    : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL), logger_(logger) {}

std::string RocksdbInfoLog::damage() const {
  const std::lock_guard lock(mutex_);
  return damage_;
}

void RocksdbInfoLog::Forget() {
  const std::lock_guard lock(mutex_);
  damage_.clear();
}

void RocksdbInfoLog::Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) {
  if (level < GetInfoLogLevel() || level == rocksdb::InfoLogLevel::HEADER_LEVEL) return;
  char text[kLineOctetsMax];
  const int size = std::vsnprintf(text, sizeof(text), format, arguments);
  if (size <= 0) return;
  // RocksDB begins some lines with its source position: "[db/file.cc:1] text".
  std::string_view view(text, std::min<size_t>(size, sizeof(text) - 1));
  const size_t position_end = view.find("] ");
  if (view.starts_with('[') && position_end < 64) view.remove_prefix(position_end + 2);
  std::string line = Printable(Trim(view), kLineOctetsMax);
  if (line.find("dropping ") != line.npos || line.find("Corruption") != line.npos) {
    const std::lock_guard lock(mutex_);
    if (damage_.empty()) damage_ = line;
  }
  if (logger_ == nullptr) return;
  const bool error = level >= rocksdb::InfoLogLevel::ERROR_LEVEL;
  logger_->Log(error ? Severity::kError : Severity::kWarning, kService, std::move(line));
}

void RocksdbInfoLog::LogHeader(const char*, va_list) {}  // Options and versions: no news.

void RocksdbEvents::OnTableFileCreated(const rocksdb::TableFileCreationInfo& info) {
  table_octets_.fetch_add(info.file_size, std::memory_order_relaxed);
}

void RocksdbEvents::OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) {
  if (logger_ == nullptr) return;
  logger_->Log(Severity::kError, kService,
               fmt::format("cannot write the queue: {}", Printable(error->ToString())));
}

void RocksdbEvents::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  if (logger_ == nullptr || !info.new_bg_error.ok()) return;
  logger_->Log(Severity::kInfo, kService, "the queue can be written again");
}

}  // namespace mailrace::queue
