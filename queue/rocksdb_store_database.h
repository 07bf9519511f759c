// The opened RocksDB of a queue with its families, and the options that hold the
// queue's promises.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "queue/rocksdb_store.h"
#include "queue/rocksdb_store_log.h"
#include "queue/rocksdb_store_log_sync.h"
#include "queue/write_set.h"
#include "rocksdb/db.h"
#include "rocksdb/file_system.h"

namespace mailrace::queue {

// How to open.
struct DatabaseMode {
  // A new queue: make the database and its families. Otherwise a missing one is damage.
  bool create = false;
  // The first start may have ended half-way: make the families that it did not come to.
  bool complete = false;
  // Take what can be read and write it anew, so that the damaged logs can go.
  bool salvage = false;
  // Change nothing, not even what recovery would. With salvage: what can be read.
  bool read_only = false;
  rocksdb::WALRecoveryMode wal_recovery_mode =
      rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
};

// Closed by its destructor. Thread-safe as rocksdb::DB is.
class Database {
 public:
  // `path` is the database's own directory. Errors name the damaged file where RocksDB
  // knows it.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const RocksdbStoreOptions& options,
                                                        const DatabaseMode& mode);
  // Makes a new CURRENT and MANIFEST from the tables and logs that are there.
  static absl::Status Repair(const std::string& path, const RocksdbStoreOptions& options);

  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  rocksdb::DB* db() const { return db_; }
  // Null for a family that a queue of an older format, opened to read only, has not.
  rocksdb::ColumnFamilyHandle* family(Family family) const {
    return families_[1 + static_cast<size_t>(family)];
  }
  // RocksDB's own "default" family: what concerns the whole queue.
  rocksdb::ColumnFamilyHandle* queue_family() const { return families_[0]; }

  // When records of the next DB::Write are durable. Of the thread that writes.
  LogSync& log_sync() { return *log_sync_; }

  // In the queue's own family, riding in every batch of a commit: how many records were
  // written up to and with it (8 octets, big-endian). Not RocksDB's sequence number: that
  // falls back at a reopen when the last records annulled each other in a flush and the log
  // that held them went.
  static constexpr std::string_view kRecordsKey = "records";
  // What that row says; without one (nothing was committed, or a salvaged queue lost it)
  // RocksDB's sequence number.
  absl::StatusOr<uint64_t> Records() const;
  // Everything that is in memory goes to tables, and the logs go.
  absl::Status FlushAll();
  // Reads every table. DataLoss names the damaged one.
  absl::Status Verify();

  std::string identity() const;
  // See RocksdbInfoLog::damage(), of the time of opening.
  const std::string& damage() const { return damage_; }
  uint64_t table_octets() const { return events_->table_octets(); }

 private:
  Database() = default;
  // In the order of construction; the database goes first.
  std::unique_ptr<rocksdb::Env> env_;
  LogSync* log_sync_ = nullptr;  // Of env_'s file system.
  std::shared_ptr<RocksdbInfoLog> info_log_;
  std::shared_ptr<RocksdbEvents> events_;
  std::string damage_;
  rocksdb::DB* db_ = nullptr;  // Owned.
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies + 1> families_{};
};

}  // namespace mailrace::queue
