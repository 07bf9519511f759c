// The file system as RocksDB sees it, with its write-ahead logs written over files that are
// there already. Where a log grows, each sync has to write the file's new size too, and on a file
// system with a journal a transaction; where it is written over, a sync is the octets alone: half
// the time and half the CPU (docs/PERFORMANCE.md). RocksDB 7.8 can recycle logs itself, but not
// in the recovery mode that notices damage; so the frames are ours (log_frame.h).
//
// A log that is obsolete becomes a spare, NUMBER.spare, and the next log is written over it.
// Without a spare a log is RocksDB's own, and grows. Thread-safe, as a file system is.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/logger.h"
#include "queue/rocksdb_store_log_sync.h"
#include "rocksdb/file_system.h"

namespace mailrace::queue {

class OverwrittenLogs final : public rocksdb::FileSystemWrapper {
 public:
  // `logger` is borrowed and may be null: it is told what RocksDB cannot tell of damage.
  OverwrittenLogs(std::shared_ptr<rocksdb::FileSystem> target, Logger* logger)
      : FileSystemWrapper(std::move(target)), logger_(logger) {}

  // Before the database in `directory` is opened to be written to: takes up the spares of its last
  // run. If there are none, two of `reserve` octets each are made, unless the disk is small. 0: all
  // logs grow.
  rocksdb::IOStatus Prepare(const std::string& directory, uint64_t reserve);

  // Tells when records are durable, of logs that are written over.
  LogSync& log_sync() { return log_sync_; }

  const char* Name() const override { return "OverwrittenLogs"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  // Of a log: what was appended to it.
  rocksdb::IOStatus GetFileSize(const std::string& path, const rocksdb::IOOptions& options,
                                uint64_t* octets, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  struct Spare {
    std::string path;
    uint64_t octets = 0;
    bool blank = false;
    uint64_t life = 0;  // Of the log that it becomes.
  };

  void MakeBlanks(const std::string& directory);
  rocksdb::IOStatus MakeBlank(const std::string& path, uint64_t octets);
  // Makes `from` that spare, durably: no frame of an earlier life counts from then on.
  rocksdb::IOStatus Mark(const std::string& from, Spare* spare);
  rocksdb::IOStatus WriteMark(const std::string& from, const Spare& spare, bool direct);
  rocksdb::IOStatus Reuse(const std::string& path, const std::string& from,
                          rocksdb::FileOptions options, bool direct,
                          std::unique_ptr<rocksdb::FSWritableFile>* file);
  bool IsWorthKeeping(uint64_t octets) const;
  bool HasRoomFor(const std::string& path, uint64_t octets);
  bool TakeSpare(Spare* spare);

  Logger* const logger_;
  LogSync log_sync_;
  uint64_t reserve_ = 0;             // Set before the database is opened.
  std::atomic<bool> direct_ = true;  // Past the kernel's cache, as far as is known.
  std::mutex mutex_;
  std::vector<Spare> spares_;  // Guarded by mutex_.
  size_t coming_ = 0;          // Guarded by mutex_: are being marked.
};

}  // namespace mailrace::queue
