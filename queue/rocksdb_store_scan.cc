#include "queue/rocksdb_store_scan.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_impl.h"
#include "queue/rocksdb_store_status.h"

namespace mailrace::queue {
namespace {

// The id that a key of any family begins with.
QueueId IdAt(const rocksdb::Iterator& family) {
  const std::string_view key = family.key().ToStringView();
  return DecodeKey(key.substr(0, std::min<size_t>(key.size(), 8))).value_or(QueueId{0});
}

// Few messages have outcomes or were tried: most steps of a walk find the iterator
// ahead, or at the end, already.
void SeekOnTo(rocksdb::Iterator* family, QueueId id) {
  if (family->Valid() && IdAt(*family) < id) family->Seek(EncodeKey(id));
}

}  // namespace

MessageScan::MessageScan(Database* database)
    : database_(database), snapshot_(database->db()->GetSnapshot()) {
  options_.snapshot = snapshot_;
  options_.fill_cache = false;
  rocksdb::DB* const db = database->db();
  message_.reset(db->NewIterator(options_, database->family(Family::kMessage)));
  done_.reset(db->NewIterator(options_, database->family(Family::kDone)));
  retry_.reset(db->NewIterator(options_, database->family(Family::kRetry)));
}

MessageScan::~MessageScan() {
  message_.reset();
  done_.reset();
  retry_.reset();
  database_->db()->ReleaseSnapshot(snapshot_);
}

void MessageScan::Seek(QueueId from) {
  const std::string key = EncodeKey(from);
  message_->Seek(key);
  done_->Seek(key);
  retry_->Seek(key);
}

void MessageScan::Next() { message_->Next(); }

absl::Status MessageScan::status() const { return FromRocksdb(message_->status(), "messages"); }

std::optional<QueueId> MessageScan::id() const { return DecodeKey(message_->key().ToStringView()); }

absl::StatusOr<RecoveredMessage> MessageScan::Read() {
  const QueueId id = IdAt(*message_);
  absl::StatusOr<Envelope> envelope = DecodeEnvelope(id, message_->value().ToStringView());
  if (!envelope.ok()) return envelope.status();
  RecoveredMessage message;
  message.envelope = *std::move(envelope);
  SeekOnTo(done_.get(), id);
  for (; done_->Valid() && IdAt(*done_) == id; done_->Next()) {
    const std::optional<IndexedKey> key = DecodeIndexedKey(done_->key().ToStringView());
    if (!key || key->index >= message.envelope.recipients.size()) {
      return absl::DataLossError("a done record is of no recipient");
    }
    const absl::StatusOr<Final> final = DecodeFinal(done_->value().ToStringView());
    if (!final.ok()) return final.status();
    message.done_indices.push_back(key->index);
    message.done_finals.push_back(*final);
  }
  if (!done_->status().ok()) return FromRocksdb(done_->status(), "outcomes");
  SeekOnTo(retry_.get(), id);
  if (!retry_->status().ok()) return FromRocksdb(retry_->status(), "retry states");
  if (!retry_->Valid() || IdAt(*retry_) != id) return message;
  absl::StatusOr<RetryState> retry = DecodeRetryState(retry_->value().ToStringView());
  if (!retry.ok()) return retry.status();
  message.has_retry = true;
  message.retry = *std::move(retry);
  return message;
}

absl::StatusOr<std::optional<QueueId>> RocksdbStore::Scan(QueueId from, size_t limit,
                                                          const ScanVisitor& visit) {
  AwaitInsertion();
  if (dead_) return Stopped(rocksdb::Status());
  MessageScan scan(database_.get());
  size_t visited = 0;
  for (scan.Seek(from); scan.valid(); scan.Next()) {
    const std::optional<QueueId> id = scan.id();
    if (!id) {
      return absl::DataLossError(fmt::format("{}: a message's key is damaged", directory_->path()));
    }
    if (visited++ == limit) return id;
    visit(*id, scan.Read());
  }
  if (const absl::Status status = scan.status(); !status.ok()) return status;
  return std::nullopt;
}

// By its key alone: messages that are being delivered come and go around it.
absl::StatusOr<RecoveredMessage> RocksdbStore::ReadMessage(QueueId id) {
  AwaitInsertion();
  if (dead_) return Stopped(rocksdb::Status());
  const std::string key = EncodeKey(id);
  rocksdb::DB* const db = database_->db();
  const rocksdb::ReadOptions options;
  const std::string what = fmt::format("message {}", id.ToString());
  std::string record;
  rocksdb::Status status = db->Get(options, database_->family(Family::kMessage), key, &record);
  if (!status.ok()) return FromRocksdb(status, what);
  absl::StatusOr<Envelope> envelope = DecodeEnvelope(id, record);
  if (!envelope.ok()) return envelope.status();
  RecoveredMessage message;
  message.envelope = *std::move(envelope);

  const std::unique_ptr<rocksdb::Iterator> done(
      db->NewIterator(options, database_->family(Family::kDone)));
  for (done->Seek(key); done->Valid() && done->key().starts_with(key); done->Next()) {
    const absl::StatusOr<Final> final = DecodeFinal(done->value().ToStringView());
    if (!final.ok()) return final.status();
    const std::optional<IndexedKey> indexed = DecodeIndexedKey(done->key().ToStringView());
    if (!indexed) continue;
    message.done_indices.push_back(indexed->index);
    message.done_finals.push_back(*final);
  }
  if (!done->status().ok()) return FromRocksdb(done->status(), what);

  status = db->Get(options, database_->family(Family::kRetry), key, &record);
  if (status.IsNotFound()) return message;
  if (!status.ok()) return FromRocksdb(status, what);
  absl::StatusOr<RetryState> retry = DecodeRetryState(record);
  if (!retry.ok()) return retry.status();
  message.has_retry = true;
  message.retry = *std::move(retry);
  return message;
}

}  // namespace mailrace::queue
