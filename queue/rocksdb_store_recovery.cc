// What is found at start: messages joined with what is known of them, and rests that no
// message owns. Bodies are not read: body records without a message are named by the
// intake records that came with them. Only a queue of the first format, or one whose
// damage was accepted, is walked with all its bodies, once.

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_impl.h"
#include "queue/rocksdb_store_status.h"

namespace mailrace::queue {
namespace {

constexpr uint32_t kRemovalsMax = 4096;       // Of a batch.
constexpr size_t kReadaheadOctets = 2 << 20;  // All records are read in order.
constexpr uint64_t kGivenUpNamedMax = 1000;   // Log lines.
constexpr uint32_t kAnyIndex = ~uint32_t{0};  // No index is out of range.

// In the queue's own family, once every body record is known to have a message or an
// intake record.
constexpr std::string_view kBodiesOwnedKey = "bodies-owned";

rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = kReadaheadOctets;
  return options;
}

struct ScanMode {
  bool bodies = false;        // Walk the bodies too.
  bool skip_damaged = false;  // Loss was accepted: go on behind what cannot be read.
  const bool* abandoned = nullptr;
};

// One walk over the families side by side, in the order of ids.
class RecoveryScan {
 public:
  RecoveryScan(Database* database, std::string directory, ScanMode mode, Logger* logger)
      : database_(database),
        directory_(std::move(directory)),
        mode_(mode),
        logger_(logger),
        message_(Scan(Family::kMessage)),
        body_(mode.bodies ? Scan(Family::kBody) : nullptr),
        done_(Scan(Family::kDone)),
        retry_(Scan(Family::kRetry)) {}

  absl::Status Run(const std::function<void(RecoveredMessage)>& found) {
    const absl::Status closed = CloseIntakes();
    if (!closed.ok()) return closed;
    for (; message_->Valid(); message_->Next()) {
      const std::optional<QueueId> id = DecodeKey(message_->key().ToStringView());
      if (!id)
        return absl::DataLossError(fmt::format("{}: a message's key is damaged", directory_));
      DropBefore(*id);
      RecoveredMessage message;
      const absl::Status status = Join(*id, &message);
      if (status.ok()) {
        found(std::move(message));
        if (*mode_.abandoned) return absl::CancelledError("the recovery was abandoned");
      } else if (mode_.skip_damaged && absl::IsDataLoss(status)) {
        Log(Severity::kError, fmt::format("{}: skipped: {}", id->ToString(), TextOf(status)));
        Skip(*id);
      } else {
        return absl::Status(status.code(), fmt::format("{}: message {}: {}", directory_,
                                                       id->ToString(), TextOf(status)));
      }
      const absl::Status removed = WriteRemovals(/*at_least=*/kRemovalsMax);
      if (!removed.ok()) return removed;
    }
    DropBefore(std::nullopt);
    for (rocksdb::Iterator* family : {message_.get(), body_.get(), done_.get(), retry_.get()}) {
      if (family != nullptr && !family->status().ok()) {
        return FromRocksdb(family->status(), directory_);
      }
    }
    if (mode_.bodies) {
      removals_.Put(database_->queue_family(), rocksdb::Slice(kBodiesOwnedKey), "")
          .PermitUncheckedError();
    }
    const absl::Status removed = WriteRemovals(/*at_least=*/1);
    if (given_up_ > 0) {
      Log(Severity::kError,
          fmt::format("{} messages are given up of which only content is left", given_up_));
    }
    if (removed.ok() && removed_ > 0) {
      Log(Severity::kInfo,
          fmt::format("removed {} records of messages that were never acknowledged or are gone",
                      removed_));
    }
    return removed;
  }

 private:
  using Iterator = std::unique_ptr<rocksdb::Iterator>;

  Iterator Scan(Family family) {
    Iterator iterator(database_->db()->NewIterator(ScanOptions(), database_->family(family)));
    iterator->SeekToFirst();
    return iterator;
  }

  // The id that the record under `family` belongs to; a key of no known form sorts
  // wherever it sorts and is dropped.
  static QueueId IdAt(const Iterator& family) {
    const std::string_view key = family->key().ToStringView();
    return DecodeKey(key.substr(0, std::min<size_t>(key.size(), 8))).value_or(QueueId{0});
  }

  // Intakes that a crash cut short: their body records go, unless a message owns them.
  absl::Status CloseIntakes() {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    const Iterator intake(
        database_->db()->NewIterator(options, database_->family(Family::kIntake)));
    const Iterator body(database_->db()->NewIterator(options, database_->family(Family::kBody)));
    for (intake->SeekToFirst(); intake->Valid(); intake->Next()) {
      const rocksdb::Slice id = intake->key();
      std::string envelope;
      const rocksdb::Status message =
          database_->db()->Get(options, database_->family(Family::kMessage), id, &envelope);
      if (!message.ok() && !message.IsNotFound()) return FromRocksdb(message, directory_);
      if (message.IsNotFound()) {
        for (body->Seek(id); body->Valid() && body->key().starts_with(id); body->Next()) {
          Drop(Family::kBody, body->key());
        }
      }
      Drop(Family::kIntake, id);
      const absl::Status removed = WriteRemovals(/*at_least=*/kRemovalsMax);
      if (!removed.ok()) return removed;
    }
    if (!intake->status().ok()) return FromRocksdb(intake->status(), directory_);
    if (!body->status().ok()) return FromRocksdb(body->status(), directory_);
    return WriteRemovals(/*at_least=*/1);
  }

  // Records below `id` belong to no message: bodies of intakes that were cut short, or
  // what a refused group that came back left behind.
  void DropBefore(std::optional<QueueId> id) {
    const std::pair<const Iterator*, Family> families[] = {
        {&body_, Family::kBody}, {&done_, Family::kDone}, {&retry_, Family::kRetry}};
    for (const auto& [family, name] : families) {
      if (*family == nullptr) continue;
      for (; (*family)->Valid() && (!id || IdAt(*family) < *id); (*family)->Next()) {
        if (mode_.skip_damaged && name == Family::kBody) GiveUp(IdAt(*family));
        Drop(name, (*family)->key());
      }
    }
  }

  // Of a message that the operator gave up a body is left: its id can still be named.
  void GiveUp(QueueId id) {
    if (id == last_given_up_) return;
    last_given_up_ = id;
    if (++given_up_ > kGivenUpNamedMax) return;
    Log(Severity::kError, fmt::format("{}: given up: its envelope is missing", id.ToString()));
  }

  // By Delete, which is right however often the record was written: a SingleDelete is
  // right only once.
  void Drop(Family family, const rocksdb::Slice& key) {
    removals_.Delete(database_->family(family), key).PermitUncheckedError();
    ++removed_;
  }

  absl::Status WriteRemovals(uint32_t at_least) {
    if (removals_.Count() < at_least) return absl::OkStatus();
    rocksdb::WriteOptions options;
    options.sync = true;
    const rocksdb::Status status = database_->db()->Write(options, &removals_);
    removals_.Clear();
    return FromRocksdb(status, directory_);
  }

  absl::Status Join(QueueId id, RecoveredMessage* message) {
    absl::StatusOr<Envelope> envelope = DecodeEnvelope(id, message_->value().ToStringView());
    if (!envelope.ok()) return envelope.status();
    message->envelope = *std::move(envelope);
    for (; done_->Valid() && IdAt(done_) == id; done_->Next()) {
      const std::optional<IndexedKey> key = DecodeIndexedKey(done_->key().ToStringView());
      if (!key || key->index >= message->envelope.recipients.size()) {
        return absl::DataLossError("a done record is of no recipient");
      }
      const absl::StatusOr<Final> final = DecodeFinal(done_->value().ToStringView());
      if (!final.ok()) return final.status();
      message->done_indices.push_back(key->index);
    }
    for (; retry_->Valid() && IdAt(retry_) == id; retry_->Next()) {
      absl::StatusOr<RetryState> retry = DecodeRetryState(retry_->value().ToStringView());
      if (!retry.ok()) return retry.status();
      message->has_retry = true;
      message->retry = *std::move(retry);
    }
    if (mode_.bodies) HoldIfIncomplete(id, CountChunks(id, message->envelope.chunks), message);
    return absl::OkStatus();
  }

  // How many of the body records 0..chunks-1 are there. Others are dropped.
  uint32_t CountChunks(QueueId id, uint32_t chunks) {
    uint32_t count = 0;
    for (; body_->Valid() && IdAt(body_) == id; body_->Next()) {
      const std::optional<IndexedKey> key = DecodeIndexedKey(body_->key().ToStringView());
      if (key && (key->index < chunks || chunks == kAnyIndex)) {
        ++count;
      } else {
        Drop(Family::kBody, body_->key());
      }
    }
    return count;
  }

  // A message without its whole body is neither sent nor bounced: an operator decides.
  void HoldIfIncomplete(QueueId id, uint32_t chunks_found, RecoveredMessage* message) {
    if (chunks_found == message->envelope.chunks) return;
    message->has_retry = true;
    message->retry.held = true;
    message->retry.last_reason =
        fmt::format("{} of {} body records are missing from the queue",
                    message->envelope.chunks - chunks_found, message->envelope.chunks);
    Log(Severity::kError, fmt::format("{}: held: {}", id.ToString(), message->retry.last_reason));
  }

  // Past the records of a message that cannot be read; they stay for an expert.
  void Skip(QueueId id) {
    if (mode_.bodies) CountChunks(id, kAnyIndex);
    for (; done_->Valid() && IdAt(done_) == id; done_->Next()) continue;
    for (; retry_->Valid() && IdAt(retry_) == id; retry_->Next()) continue;
  }

  void Log(Severity severity, std::string line) const {
    if (logger_ != nullptr) logger_->Log(severity, "queue", std::move(line));
  }

  Database* const database_;
  const std::string directory_;
  const ScanMode mode_;
  Logger* const logger_;
  const Iterator message_;
  const Iterator body_;  // Null: bodies are not walked.
  const Iterator done_;
  const Iterator retry_;
  rocksdb::WriteBatch removals_;
  uint64_t removed_ = 0;
  QueueId last_given_up_{0};
  uint64_t given_up_ = 0;
};

}  // namespace

absl::Status RocksdbStore::Recover(const std::function<void(RecoveredMessage)>& found) {
  if (dead_) return Stopped(rocksdb::Status());
  std::string value;
  const rocksdb::Status owned = database_->db()->Get(
      rocksdb::ReadOptions(), database_->queue_family(), rocksdb::Slice(kBodiesOwnedKey), &value);
  if (!owned.ok() && !owned.IsNotFound()) return FromRocksdb(owned, directory_->path());
  const ScanMode mode{.bodies = owned.IsNotFound() || options_.accept_loss,
                      .skip_damaged = options_.accept_loss,
                      .abandoned = &recovery_abandoned_};
  RecoveryScan scan(database_.get(), directory_->path(), mode, options_.logger);
  int64_t messages = 0;
  int64_t bodies = 0;
  const absl::Status status = scan.Run([&](RecoveredMessage message) {
    ++messages;
    bodies += message.envelope.chunks;
    found(std::move(message));
  });
  // Before any commit, which counts on from here.
  live_messages_ = messages;
  live_bodies_ = bodies;
  recovered_ = status.ok();
  if (!absl::IsDataLoss(status) || options_.accept_loss) return status;
  return absl::DataLossError(
      fmt::format("{}; to go on without what is missing, start with --accept-loss (a copy is kept)",
                  TextOf(status)));
}

}  // namespace mailrace::queue
