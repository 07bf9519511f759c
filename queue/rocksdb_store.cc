#include "queue/rocksdb_store.h"

#include <pthread.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_impl.h"
#include "queue/rocksdb_store_status.h"

namespace mailrace::queue {
namespace {

// In the queue's own family: big-endian, above every id that was ever committed. It
// rides in the batch that uses the id, so it is exact even when every message that had
// the id is long gone and the clock was set back.
constexpr std::string_view kNextIdKey = "next-id";

rocksdb::Slice AsSlice(std::string_view text) { return {text.data(), text.size()}; }

// Every key begins with one.
uint64_t IdOf(const WriteSet::Operation& operation) {
  return DecodeKey(std::string_view(operation.key).substr(0, 8))->value;
}

rocksdb::ReadOptions BodyReadOptions() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // A body is read once, to be sent.
  return options;
}

}  // namespace

RocksdbStore::RocksdbStore(RocksdbStoreOptions options, std::unique_ptr<StoreDirectory> directory,
                           std::unique_ptr<Database> database, uint64_t records, uint64_t next_id)
    : options_(std::move(options)),
      directory_(std::move(directory)),
      database_(std::move(database)),
      identity_(database_->identity()),
      acknowledged_records_(records),
      next_id_(next_id) {}

RocksdbStore::~RocksdbStore() {
  space_keeper_.reset();  // Its thread reads our counts.
  if (!marker_thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  marker_thread_.join();
}

absl::Status RocksdbStore::Start() {
  absl::Status status = FindHighestId();
  if (!status.ok()) return status;
  status = SaveMarker();
  if (!status.ok()) return status;
  marker_thread_ = std::thread([this] { KeepMarker(); });
  space_keeper_ = std::make_unique<SpaceKeeper>(
      database_.get(), directory_->path(), [this](Family family) { return LiveRecords(family); },
      options_.space_interval, options_.dead_octets_min, options_.logger);
  return absl::OkStatus();
}

absl::Status RocksdbStore::FindHighestId() {
  uint64_t next_id = next_id_;
  std::string value;
  const rocksdb::Status status = database_->db()->Get(
      rocksdb::ReadOptions(), database_->queue_family(), AsSlice(kNextIdKey), &value);
  if (!status.ok() && !status.IsNotFound()) return FromRocksdb(status, directory_->path());
  if (status.ok()) {
    const std::optional<QueueId> stored = DecodeKey(value);
    if (!stored) {
      return absl::DataLossError(
          fmt::format("{}: the next-id record is damaged", directory_->path()));
    }
    next_id = std::max(next_id, stored->value);
  }
  // After an accepted loss the row may be gone while records are not.
  for (const Family family : {Family::kMessage, Family::kBody}) {
    const std::unique_ptr<rocksdb::Iterator> last(
        database_->db()->NewIterator(rocksdb::ReadOptions(), database_->family(family)));
    last->SeekToLast();
    if (!last->status().ok()) return FromRocksdb(last->status(), directory_->path());
    if (!last->Valid()) continue;
    const std::optional<QueueId> id = DecodeKey(last->key().ToStringView().substr(0, 8));
    if (id) next_id = std::max(next_id, id->value + 1);
  }
  next_id_ = next_id;
  return absl::OkStatus();
}

std::optional<uint64_t> RocksdbStore::LiveRecords(Family family) const {
  if (!recovered_) return std::nullopt;
  const int64_t live = family == Family::kBody ? live_bodies_ : live_messages_;
  return static_cast<uint64_t>(std::max<int64_t>(0, live));
}

RocksdbStore::LiveChange RocksdbStore::ChangeBy(std::span<const WriteSet* const> group) {
  LiveChange change;
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      const int64_t by = operation.kind == WriteSet::Operation::Kind::kPut ? 1 : -1;
      if (operation.family == Family::kMessage) change.messages += by;
      if (operation.family == Family::kBody) change.bodies += by;
    }
  }
  return change;
}

void RocksdbStore::RemoveFromBatch() {
  for (const WriteSet::Operation* const operation : removals_) {
    rocksdb::ColumnFamilyHandle* const family = database_->family(operation->family);
    // Only a batch with a size limit refuses operations; this one has none.
    (operation->kind == WriteSet::Operation::Kind::kRemoveOnce
         ? batch_.SingleDelete(family, operation->key)
         : batch_.Delete(family, operation->key))
        .PermitUncheckedError();
  }
  removals_.clear();
  removed_ids_.clear();
}

uint64_t RocksdbStore::FillBatch(std::span<const WriteSet* const> group) {
  batch_.Clear();
  const auto put_nothing_fails = [](const rocksdb::Status& status) {
    // Only a batch with a size limit refuses operations; this one has none.
    status.PermitUncheckedError();
  };
  uint64_t next_id = next_id_.load(std::memory_order_relaxed);
  // What is put has the newest ids, what is removed older ones. Apart from each other both
  // go in where the one before went in; in turns each insertion is a search.
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      const uint64_t id = IdOf(operation);
      if (operation.kind != WriteSet::Operation::Kind::kPut) {
        removals_.push_back(&operation);
        removed_ids_.insert(id);
        continue;
      }
      if (removed_ids_.contains(id)) RemoveFromBatch();  // The later one counts.
      put_nothing_fails(
          batch_.Put(database_->family(operation.family), operation.key,
                     operation.octets != nullptr ? *operation.octets : operation.value));
      if (operation.family == Family::kMessage || operation.family == Family::kBody) {
        next_id = std::max(next_id, id + 1);
      }
    }
  }
  RemoveFromBatch();
  if (next_id != next_id_.load(std::memory_order_relaxed)) {
    put_nothing_fails(
        batch_.Put(database_->queue_family(), AsSlice(kNextIdKey), EncodeKey(QueueId{next_id})));
    // Before the write: an id in a refused group may come back at the next start.
    next_id_.store(next_id, std::memory_order_relaxed);
  }
  if (batch_.Count() == 0) return 0;
  const uint64_t records =
      acknowledged_records_.load(std::memory_order_relaxed) + batch_.Count() + 1;
  put_nothing_fails(batch_.Put(database_->queue_family(), AsSlice(Database::kRecordsKey),
                               EncodeKey(QueueId{records})));
  return records;
}

absl::Status RocksdbStore::Commit(std::span<const WriteSet* const> group) {
  if (dead_) return Stopped(rocksdb::Status());
  const uint64_t records = FillBatch(group);
  if (records == 0) return absl::OkStatus();
  const LiveChange change = ChangeBy(group);
  bool told = false;
  const rocksdb::Status status = WriteBatch(&told);  // The group may be gone.
  // What was said to be durable is, and is in no memtable: only a restart finds it.
  if (!status.ok()) return told ? Stopped(status) : Refused(status);
  // Not what was refused: on a full disk the same removals are tried again and again, and each
  // would make the living look dead.
  live_messages_.fetch_add(change.messages, std::memory_order_relaxed);
  live_bodies_.fetch_add(change.bodies, std::memory_order_relaxed);
  commits_.fetch_add(1, std::memory_order_relaxed);
  log_octets_.fetch_add(batch_.GetDataSize(), std::memory_order_relaxed);
  acknowledged_records_.store(records, std::memory_order_release);
  return absl::OkStatus();
}

rocksdb::Status RocksdbStore::WriteBatch(bool* told) {
  rocksdb::WriteOptions options;
  options.sync = true;  // Invariant I1. A build without this must be caught by the tests.
  if (on_durable_ == nullptr) return database_->db()->Write(options, &batch_);
  database_->log_sync().Expect([this, told] {
    *told = true;
    insertions_.fetch_add(1);
    on_durable_();
  });
  const rocksdb::Status status = database_->db()->Write(options, &batch_);
  database_->log_sync().Forget(status.ok());
  if (*told) {
    if (!status.ok()) dead_ = true;  // Before anybody reads what is not there.
    insertions_.fetch_add(1);
    insertions_.notify_all();
  } else if (status.ok()) {
    on_durable_();
  }
  return status;
}

void RocksdbStore::AwaitInsertion() const {
  const uint32_t now = insertions_.load();
  if (now % 2 == 1) insertions_.wait(now);
}

absl::Status RocksdbStore::Refused(const rocksdb::Status& status) {
  // No space: RocksDB refuses by itself until it has found room again.
  if (status.IsNoSpace()) return FromRocksdb(status, directory_->path());
  // After a failed sync nobody knows which pages reached the disk, and a second sync
  // may say OK although they did not. So nothing is written any more.
  return Stopped(status);
}

absl::Status RocksdbStore::Stopped(const rocksdb::Status& status) {
  dead_ = true;
  if (!status.ok()) {
    Log(Severity::kPanic,
        fmt::format("{}: cannot write: {}; stopping", directory_->path(), status.ToString()));
  }
  return absl::DataLossError(fmt::format(
      "{}: the store stopped after a failed write{}{}; restart the process", directory_->path(),
      status.ok() ? "" : ": ", status.ok() ? std::string() : status.ToString()));
}

absl::StatusOr<std::string> RocksdbStore::ReadChunk(QueueId id, uint32_t chunk) {
  AwaitInsertion();
  if (dead_) return Stopped(rocksdb::Status());
  std::string content;
  const rocksdb::Status status = database_->db()->Get(
      BodyReadOptions(), database_->family(Family::kBody), EncodeKey(id, chunk), &content);
  if (!status.ok()) {
    return FromRocksdb(status, fmt::format("{}: body record {}", id.ToString(), chunk));
  }
  return content;
}

Store::Stats RocksdbStore::stats() const {
  Stats stats;
  stats.commits = commits_.load(std::memory_order_relaxed);
  stats.octets_written = log_octets_.load(std::memory_order_relaxed) + database_->table_octets();
  struct statvfs file_system;
  if (::statvfs(directory_->path().c_str(), &file_system) == 0) {
    // What an ordinary user may take, as df shows it.
    stats.free_octets = static_cast<uint64_t>(file_system.f_bavail) * file_system.f_frsize;
  }
  return stats;
}

void RocksdbStore::KeepMarker() {
  pthread_setname_np(pthread_self(), "marker");
  bool failed = false;
  std::unique_lock lock(mutex_);
  while (true) {
    // An hour at most: a duration without end would overflow the clock.
    const absl::Duration interval = std::min(options_.marker_interval, absl::Hours(1));
    wake_.wait_for(lock, absl::ToChronoNanoseconds(interval), [&] { return closing_; });
    const bool closing = closing_;
    lock.unlock();
    const absl::Status status = SaveMarker();
    // Once an episode. The old marker stands; it only knows less.
    if (!status.ok() && !failed) {
      Log(Severity::kWarning, fmt::format("cannot write the marker: {}", TextOf(status)));
    }
    failed = !status.ok();
    if (closing) return;
    lock.lock();
  }
}

absl::Status RocksdbStore::SaveMarker() {
  const StoreMarker marker{identity_, acknowledged_records_.load(std::memory_order_acquire),
                           next_id_.load(std::memory_order_relaxed)};
  if (marker == saved_) return absl::OkStatus();
  const absl::Status status = WriteMarker(file_system(), directory_->path(), marker);
  if (status.ok()) saved_ = marker;
  return status;
}

rocksdb::FileSystem* RocksdbStore::file_system() const {
  if (options_.file_system != nullptr) return options_.file_system.get();
  return rocksdb::Env::Default()->GetFileSystem().get();
}

void RocksdbStore::Log(Severity severity, std::string line) const {
  if (options_.logger != nullptr) options_.logger->Log(severity, "queue", std::move(line));
}

}  // namespace mailrace::queue
