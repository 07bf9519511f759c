// The class behind OpenRocksdbStore. Split over rocksdb_store.cc (commit, marker,
// body records), rocksdb_store_scan.cc (messages while it runs), rocksdb_store_recovery.cc
// (what is found at start) and rocksdb_store_open.cc (whether it may be opened at all).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "queue/rocksdb_store.h"
#include "queue/rocksdb_store_database.h"
#include "queue/rocksdb_store_directory.h"
#include "queue/rocksdb_store_marker.h"
#include "queue/rocksdb_store_space.h"
#include "queue/store.h"
#include "rocksdb/write_batch.h"

namespace mailrace::queue {

class RocksdbStore final : public Store {
 public:
  // `records`: of the database, as it was opened. `next_id` is above every id that is known
  // outside of the database.
  RocksdbStore(RocksdbStoreOptions options, std::unique_ptr<StoreDirectory> directory,
               std::unique_ptr<Database> database, uint64_t records, uint64_t next_id);
  ~RocksdbStore() override;

  // Finds the highest id, writes the first marker and begins to keep it. Once, before
  // anything else.
  absl::Status Start();

  absl::Status Commit(std::span<const WriteSet* const> group) override;
  void set_on_durable(std::function<void()> durable) override { on_durable_ = std::move(durable); }
  absl::StatusOr<std::string> ReadChunk(QueueId id, uint32_t chunk) override;
  absl::StatusOr<RecoveredMessage> ReadMessage(QueueId id) override;
  absl::StatusOr<std::optional<QueueId>> Scan(QueueId from, size_t limit,
                                              const ScanVisitor& visit) override;
  absl::Status Recover(const std::function<void(RecoveredMessage)>& found) override;
  void AbandonRecovery() override { recovery_abandoned_ = true; }
  uint64_t highest_id() const override { return next_id_.load(std::memory_order_relaxed); }
  std::string accepted_loss() const override { return accepted_loss_; }
  void set_accepted_loss(std::string loss) { accepted_loss_ = std::move(loss); }
  Stats stats() const override;
  // Records of messages or bodies that were put and not removed; nothing before Recover(). Any
  // thread.
  std::optional<uint64_t> LiveRecords(Family family) const;

 private:
  absl::Status FindHighestId();
  // The count of records that the batch brings the database to; 0: there is nothing in it.
  uint64_t FillBatch(std::span<const WriteSet* const> group);
  // By which a group changes live_messages_ and live_bodies_.
  struct LiveChange {
    int64_t messages = 0;
    int64_t bodies = 0;
  };
  static LiveChange ChangeBy(std::span<const WriteSet* const> group);
  // Writes and syncs batch_. `told`: it was said to be durable.
  rocksdb::Status WriteBatch(bool* told);
  // What was said to be durable can be read when this returns. Any thread.
  void AwaitInsertion() const;
  void RemoveFromBatch();  // What removals_ holds, which is then empty.
  absl::Status Refused(const rocksdb::Status& status);
  absl::Status Stopped(const rocksdb::Status& status);
  void KeepMarker();
  absl::Status SaveMarker();
  rocksdb::FileSystem* file_system() const;
  void Log(Severity severity, std::string line) const;

  // Constant after construction. In the order of construction: the database closes
  // before the directory is unlocked.
  const RocksdbStoreOptions options_;
  const std::unique_ptr<StoreDirectory> directory_;
  const std::unique_ptr<Database> database_;
  std::unique_ptr<SpaceKeeper> space_keeper_;  // Since Start().
  const std::string identity_;

  bool recovery_abandoned_ = false;  // Of the thread that recovers.
  std::string accepted_loss_;        // Set before Start().

  // Of the thread that commits; kept for their memory. The removals of the group so far
  // that are not in the batch yet, and their ids.
  rocksdb::WriteBatch batch_;
  std::vector<const WriteSet::Operation*> removals_;
  absl::flat_hash_set<uint64_t> removed_ids_;
  std::function<void()> on_durable_;

  // Written by the thread that commits, read by any.
  std::atomic<bool> dead_{false};
  // Odd while a group is said to be durable and cannot be read yet.
  std::atomic<uint32_t> insertions_{0};
  std::atomic<uint64_t> acknowledged_records_;  // Database::kRecordsKey.
  std::atomic<uint64_t> next_id_;
  std::atomic<uint64_t> commits_{0};
  std::atomic<uint64_t> log_octets_{0};
  // Put and not removed, as far as is known: for the space keeper.
  std::atomic<bool> recovered_{false};
  std::atomic<int64_t> live_messages_{0};
  std::atomic<int64_t> live_bodies_{0};

  // The marker's thread.
  std::mutex mutex_;
  bool closing_ = false;  // Guarded by mutex_.
  std::condition_variable wake_;
  StoreMarker saved_;  // Of the marker's thread while it runs.
  std::thread marker_thread_;
};

}  // namespace mailrace::queue
