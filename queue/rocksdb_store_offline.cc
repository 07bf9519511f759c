// Reading a stopped queue, see offline_queue.h.

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "queue/offline_queue.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_database.h"
#include "queue/rocksdb_store_directory.h"
#include "queue/rocksdb_store_marker.h"
#include "queue/rocksdb_store_scan.h"
#include "queue/rocksdb_store_status.h"

namespace mailrace::queue {
namespace {

constexpr size_t kGapsMax = 100;

QueueId IdAt(const rocksdb::Iterator& family) {
  const std::string_view key = family.key().ToStringView();
  return DecodeKey(key.substr(0, std::min<size_t>(key.size(), 8))).value_or(QueueId{0});
}

class RocksdbOfflineQueue final : public OfflineQueue {
 public:
  RocksdbOfflineQueue(std::unique_ptr<StoreDirectory> directory, std::unique_ptr<Database> database,
                      std::vector<std::string> damage)
      : directory_(std::move(directory)),
        database_(std::move(database)),
        damage_(std::move(damage)) {}

  const std::vector<std::string>& damage() const override { return damage_; }
  std::vector<std::string> ForEach(const Visitor& visit) override;
  absl::StatusOr<RecoveredMessage> ReadMessage(QueueId id) override;
  absl::StatusOr<std::string> ReadChunk(QueueId id, uint32_t chunk) override;
  Report Verify() override;

 private:
  std::optional<QueueId> FindReadable(QueueId from);
  void CheckContent(const Envelope& envelope, rocksdb::Iterator* body, Report* report);
  uint64_t CountOrphans(Family family, Report* report);
  static void Complain(std::string text, Report* report);

  const std::unique_ptr<StoreDirectory> directory_;
  const std::unique_ptr<Database> database_;
  const std::vector<std::string> damage_;
};

// The first id at or behind `from` from which tables can be read again, by halving: a
// damaged block is a range of ids. Nothing: there is none.
std::optional<QueueId> RocksdbOfflineQueue::FindReadable(QueueId from) {
  // A new iterator for each look: one that met damage may stay on it.
  const auto look = [this](uint64_t id) {
    std::unique_ptr<rocksdb::Iterator> iterator(
        database_->db()->NewIterator(rocksdb::ReadOptions(), database_->family(Family::kMessage)));
    iterator->Seek(EncodeKey(QueueId{id}));
    return iterator;
  };
  uint64_t bad = from.value;
  uint64_t good = UINT64_MAX;
  while (good - bad > 1) {
    const uint64_t middle = bad + (good - bad) / 2;
    (look(middle)->status().ok() ? good : bad) = middle;
  }
  const std::unique_ptr<rocksdb::Iterator> found = look(good);
  if (!found->Valid()) return std::nullopt;
  return IdAt(*found);
}

std::vector<std::string> RocksdbOfflineQueue::ForEach(const Visitor& visit) {
  std::vector<std::string> gaps;
  std::optional<QueueId> from = QueueId{0};
  while (from) {
    MessageScan scan(database_.get());
    for (scan.Seek(*from); scan.valid(); scan.Next()) {
      const std::optional<QueueId> id = scan.id();
      if (!id) {
        gaps.push_back("a message's key is damaged");
        continue;
      }
      visit(*id, scan.Read());
      from = QueueId{id->value + 1};
    }
    const absl::Status status = scan.status();
    if (status.ok()) break;
    const std::optional<QueueId> next = FindReadable(*from);
    gaps.push_back(fmt::format("messages from {} {} cannot be read: {}", from->ToString(),
                               next ? "to before " + next->ToString() : "on", TextOf(status)));
    if (gaps.size() >= kGapsMax || (next && *next <= *from)) break;
    from = next;
  }
  return gaps;
}

absl::StatusOr<RecoveredMessage> RocksdbOfflineQueue::ReadMessage(QueueId id) {
  MessageScan scan(database_.get());
  scan.Seek(id);
  if (const absl::Status status = scan.status(); !status.ok()) return status;
  if (!scan.valid() || scan.id() != id) {
    return absl::NotFoundError(fmt::format("message {}: not in the queue", id.ToString()));
  }
  return scan.Read();
}

absl::StatusOr<std::string> RocksdbOfflineQueue::ReadChunk(QueueId id, uint32_t chunk) {
  std::string content;
  const rocksdb::Status status = database_->db()->Get(
      rocksdb::ReadOptions(), database_->family(Family::kBody), EncodeKey(id, chunk), &content);
  if (!status.ok()) {
    return FromRocksdb(status, fmt::format("{}: body record {}", id.ToString(), chunk));
  }
  return content;
}

void RocksdbOfflineQueue::Complain(std::string text, Report* report) {
  if (report->problems.size() < kProblemsMax) {
    report->problems.push_back(std::move(text));
  } else {
    ++report->problems_left_out;
  }
}

void RocksdbOfflineQueue::CheckContent(const Envelope& envelope, rocksdb::Iterator* body,
                                       Report* report) {
  const std::string id = envelope.id.ToString();
  if (!body->Valid() || IdAt(*body) < envelope.id) body->Seek(EncodeKey(envelope.id));
  uint32_t records = 0;
  uint64_t octets = 0;
  for (; body->Valid() && IdAt(*body) == envelope.id; body->Next()) {
    const std::optional<IndexedKey> key = DecodeIndexedKey(body->key().ToStringView());
    if (!key || key->index != records) break;
    ++records;
    octets += body->value().size();
  }
  report->content_records += records;
  report->content_octets += octets;
  if (!body->status().ok()) {
    Complain(fmt::format("{}: its content cannot be read: {}", id, body->status().ToString()),
             report);
  } else if (records != envelope.chunks) {
    Complain(fmt::format("{}: {} of {} body records are missing", id, envelope.chunks - records,
                         envelope.chunks),
             report);
  } else if (octets != envelope.octets) {
    Complain(fmt::format("{}: its content has {} octets, its envelope says {}", id, octets,
                         envelope.octets),
             report);
  } else {
    return;
  }
  ++report->incomplete_messages;
}

// Records of a family whose message is not there.
uint64_t RocksdbOfflineQueue::CountOrphans(Family family, Report* report) {
  if (database_->family(family) == nullptr) return 0;
  rocksdb::DB* const db = database_->db();
  const std::unique_ptr<rocksdb::Iterator> records(
      db->NewIterator(rocksdb::ReadOptions(), database_->family(family)));
  const std::unique_ptr<rocksdb::Iterator> messages(
      db->NewIterator(rocksdb::ReadOptions(), database_->family(Family::kMessage)));
  messages->SeekToFirst();
  uint64_t orphans = 0;
  for (records->SeekToFirst(); records->Valid(); records->Next()) {
    const QueueId id = IdAt(*records);
    if (messages->Valid() && IdAt(*messages) < id) messages->Seek(EncodeKey(id));
    // Behind a message that cannot be read nothing is known of owners.
    if (!messages->status().ok()) return orphans;
    if (!messages->Valid() || IdAt(*messages) != id) ++orphans;
  }
  if (!records->status().ok()) {
    Complain(fmt::format("records cannot be read: {}", records->status().ToString()), report);
  }
  return orphans;
}

OfflineQueue::Report RocksdbOfflineQueue::Verify() {
  Report report;
  for (const std::string& each : damage_) Complain(each, &report);
  rocksdb::ReadOptions sequential;
  sequential.fill_cache = false;
  sequential.readahead_size = 2 << 20;
  const std::unique_ptr<rocksdb::Iterator> body(
      database_->db()->NewIterator(sequential, database_->family(Family::kBody)));
  body->SeekToFirst();
  const std::vector<std::string> gaps =
      ForEach([&](QueueId id, absl::StatusOr<RecoveredMessage> found) {
        if (!found.ok()) {
          ++report.damaged_messages;
          Complain(fmt::format("{}: {}", id.ToString(), TextOf(found.status())), &report);
          return;
        }
        ++report.messages;
        report.recipients_owed += found->envelope.recipients.size() - found->done_indices.size();
        if (found->has_retry && found->retry.held) ++report.held;
        if (found->has_retry && found->retry.attempts > 0) ++report.deferred;
        CheckContent(found->envelope, body.get(), &report);
      });
  for (const std::string& gap : gaps) Complain(gap, &report);
  for (const Family family : {Family::kBody, Family::kDone, Family::kRetry, Family::kIntake}) {
    report.orphans += CountOrphans(family, &report);
  }
  return report;
}

// The marker's word against what was found; empty if they agree.
std::string Compare(const StoreDirectory& directory, const Database& database) {
  const std::string path = MarkerPath(directory.path());
  const absl::StatusOr<std::optional<StoreMarker>> marker =
      ReadMarker(rocksdb::Env::Default()->GetFileSystem().get(), directory.path());
  if (!marker.ok()) return TextOf(marker.status());
  const absl::StatusOr<uint64_t> records = database.Records();
  if (!records.ok()) return TextOf(records.status());
  if (!*marker) {
    if (*records == 0) return {};
    return fmt::format("{} is missing: whether the queue is whole cannot be told", path);
  }
  if ((*marker)->database != database.identity()) {
    return fmt::format("{} belongs to another queue", path);
  }
  if (*records >= (*marker)->sequence) return {};
  return fmt::format(
      "acknowledged records are missing: the queue ends at {}, {} says {} ({} missing)", *records,
      path, (*marker)->sequence, (*marker)->sequence - *records);
}

}  // namespace

absl::StatusOr<std::unique_ptr<OfflineQueue>> OpenOfflineQueue(const std::string& path,
                                                               Logger* logger) {
  absl::StatusOr<std::unique_ptr<StoreDirectory>> directory = StoreDirectory::OpenToRead(path);
  if (!directory.ok()) return directory.status();
  RocksdbStoreOptions options;
  options.directory = path;
  options.logger = logger;
  std::vector<std::string> damage;
  DatabaseMode mode;
  mode.read_only = true;
  absl::StatusOr<std::unique_ptr<Database>> database =
      Database::Open((*directory)->database_path(), options, mode);
  // From the most honest way to the most desperate one, as --accept-loss does.
  for (const auto recovery : {rocksdb::WALRecoveryMode::kPointInTimeRecovery,
                              rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords}) {
    if (database.ok()) break;
    if (damage.empty()) damage.push_back(TextOf(database.status()));
    mode.salvage = true;
    mode.wal_recovery_mode = recovery;
    database = Database::Open((*directory)->database_path(), options, mode);
  }
  if (!database.ok()) return database.status();
  if (damage.empty() && !(*database)->damage().empty()) damage.push_back((*database)->damage());
  if (std::string missing = Compare(**directory, **database); !missing.empty()) {
    damage.push_back(std::move(missing));
  }
  return std::make_unique<RocksdbOfflineQueue>(*std::move(directory), *std::move(database),
                                               std::move(damage));
}

}  // namespace mailrace::queue
