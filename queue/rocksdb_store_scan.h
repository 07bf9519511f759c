// Messages joined with what is known of them, read from an opened database that may be
// written meanwhile. Any thread; one object for one walk.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "queue/rocksdb_store_database.h"
#include "queue/store.h"
#include "rocksdb/db.h"

namespace mailrace::queue {

// Everything is seen as of one moment: that of construction.
class MessageScan {
 public:
  // `database` is borrowed and outlives the scan.
  explicit MessageScan(Database* database);
  ~MessageScan();
  MessageScan(const MessageScan&) = delete;
  MessageScan& operator=(const MessageScan&) = delete;

  // To the first message at or behind `from`.
  void Seek(QueueId from);
  void Next();
  // False at the end, or where the tables cannot be read: see status().
  bool valid() const { return message_->Valid(); }
  absl::Status status() const;
  // REQUIRES: valid(). Nothing: the key is damaged.
  std::optional<QueueId> id() const;
  // REQUIRES: valid() and id(). DataLoss: a record of it is damaged.
  absl::StatusOr<RecoveredMessage> Read();

 private:
  using Iterator = std::unique_ptr<rocksdb::Iterator>;

  Database* const database_;
  const rocksdb::Snapshot* const snapshot_;
  rocksdb::ReadOptions options_;
  Iterator message_;
  Iterator done_;
  Iterator retry_;
};

}  // namespace mailrace::queue
