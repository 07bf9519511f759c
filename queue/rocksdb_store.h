// The queue in RocksDB. Facts and reasons: docs/ARCHITECTURE.md, "Queue on RocksDB".
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logger.h"
#include "queue/store.h"

namespace rocksdb {
class FileSystem;
}

namespace mailrace::queue {

struct RocksdbStoreOptions {
  std::string directory;  // queue_directory: made (0700) if missing, else owner and mode checked.
  // Go on although acknowledged records are missing (operator switch --accept-loss): a
  // copy of the damaged files is kept beside, and the gap is logged.
  bool accept_loss = false;
  // How far the "highest acknowledged" marker may lag the commits.
  absl::Duration marker_interval = absl::Seconds(1);
  size_t memtable_octets = 256 << 20;  // A healthy queue never reaches an SST.
  // What a new queue takes of the disk at its first start for each of its first two logs to be
  // written over (rocksdb_store_overwrite.h); later ones take what obsolete ones had. 0: logs grow.
  uint64_t log_reserve_octets = 0;
  // Blocks of tables, with their indices and filters: nothing of the tables is held beside.
  size_t cache_octets = 32 << 20;
  // How often it is looked whether tables hold dead mail, and from how much on it is worth while.
  absl::Duration space_interval = absl::Seconds(10);
  uint64_t dead_octets_min = 32 << 20;
  Logger* logger = nullptr;  // Borrowed. Receives RocksDB's own info log (warnings up).
  std::shared_ptr<rocksdb::FileSystem> file_system;  // Tests inject faults; null: the real one.
};

// Refuses, naming the file and the gap: a log cut or damaged before the marker, a
// queue that was there and is not (I4), a newer format, a read-only file system, a
// second instance, a directory that others can write to.
absl::StatusOr<std::unique_ptr<Store>> OpenRocksdbStore(const RocksdbStoreOptions& options);

}  // namespace mailrace::queue
