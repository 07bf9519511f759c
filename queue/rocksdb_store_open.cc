// Whether a queue may be opened at all. A queue that comes back short, damaged or empty
// is refused with the file and the gap (invariant I4); going on with loss is the
// operator's decision, and keeps a copy of what was there.

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "queue/rocksdb_store.h"
#include "queue/rocksdb_store_impl.h"
#include "queue/rocksdb_store_rebuild.h"
#include "queue/rocksdb_store_status.h"

namespace mailrace::queue {
namespace {

// Ids that were used after the marker was written are unknown when the log is lost.
// Above the marker's by this much no id was used: even ids of a microsecond clock with
// nine more bits below go 8 seconds on, eight times the marker's lag.
constexpr uint64_t kIdsSinceMarkerMax = uint64_t{1} << 32;

class Opening {
 public:
  Opening(const RocksdbStoreOptions& options, std::unique_ptr<StoreDirectory> directory)
      : options_(options), directory_(std::move(directory)) {}

  absl::StatusOr<std::unique_ptr<Store>> Run() {
    absl::Status status = LoadMarker();
    if (status.ok()) status = OpenWhole();
    // Damage in the middle of a table is met when it is read. Who accepts loss wants a queue
    // that works afterwards: everything is read now.
    if (status.ok() && options_.accept_loss) status = database_->Verify();
    if (!status.ok()) {
      // Damage alone may be accepted; no switch makes a full disk or a newer format
      // readable.
      if (!absl::IsDataLoss(status)) return status;
      if (!options_.accept_loss) {
        return absl::DataLossError(fmt::format(
            "{}; to go on without what is missing, start with --accept-loss (a copy is kept)",
            TextOf(status)));
      }
      status = Salvage(status);
      if (!status.ok()) return status;
    }
    if (marker_ && marker_->format < kQueueFormat) {
      Log(Severity::kWarning,
          fmt::format("the queue of format {} becomes one of format {}: an older version of this "
                      "program cannot open it from now on",
                      marker_->format, kQueueFormat));
    }
    const absl::StatusOr<uint64_t> records = database_->Records();
    if (!records.ok()) return records.status();
    auto store = std::make_unique<RocksdbStore>(options_, std::move(directory_),
                                                std::move(database_), *records, NextId());
    store->set_accepted_loss(std::move(loss_));
    status = store->Start();
    if (!status.ok()) return status;
    return store;
  }

 private:
  absl::Status LoadMarker() {
    rocksdb::FileSystem* const file_system = options_.file_system != nullptr
                                                 ? options_.file_system.get()
                                                 : rocksdb::Env::Default()->GetFileSystem().get();
    absl::StatusOr<std::optional<StoreMarker>> marker = ReadMarker(file_system, directory_->path());
    if (!marker.ok()) return marker.status();
    marker_ = *std::move(marker);
    return absl::OkStatus();
  }

  // All that was acknowledged, or an error and no database.
  absl::Status OpenWhole() {
    const std::string newest_log = directory_->NewestLog();
    DatabaseMode mode;
    mode.create = !directory_->HasCurrent();
    mode.complete = !marker_;
    if (mode.create) {
      const absl::Status status = MayCreate();
      if (!status.ok()) return status;
    }
    absl::Status status = OpenDatabase(mode);
    if (!status.ok()) return status;
    status = Compare(newest_log);
    // Only now that it is known to be whole: the logs of the last run become tables and
    // go. RocksDB would not miss one that a process left behind at its end.
    if (status.ok()) status = database_->FlushAll();
    if (!status.ok()) database_.reset();
    return status;
  }

  absl::Status OpenDatabase(const DatabaseMode& mode) {
    absl::StatusOr<std::unique_ptr<Database>> database =
        Database::Open(directory_->database_path(), options_, mode);
    if (!database.ok()) return database.status();
    database_ = *std::move(database);
    return absl::OkStatus();
  }

  // No empty queue is ever created beside an old one.
  absl::Status MayCreate() const {
    const std::string current = directory_->database_path() + "/CURRENT";
    if (marker_) {
      return absl::DataLossError(
          fmt::format("{} is missing, but {} tells of a queue with {} records written; "
                      "no empty queue is created beside an old one",
                      current, MarkerPath(directory_->path()), marker_->sequence));
    }
    const std::vector<std::string> files = directory_->RecordFiles();
    if (files.empty()) return absl::OkStatus();
    return absl::DataLossError(
        fmt::format("{} is missing, but {} holds records; no empty queue is created beside an "
                    "old one",
                    current, files.front()));
  }

  absl::Status Compare(const std::string& newest_log) const {
    const std::string marker_path = MarkerPath(directory_->path());
    const absl::StatusOr<uint64_t> records = database_->Records();
    if (!records.ok()) return records.status();
    const uint64_t sequence = *records;
    if (!marker_) {
      // The first start ended before its marker was written: nothing was acknowledged.
      if (sequence == 0) return absl::OkStatus();
      return absl::DataLossError(
          fmt::format("{} is missing: whether the queue is whole cannot be told", marker_path));
    }
    if (marker_->database != database_->identity()) {
      return absl::DataLossError(
          fmt::format("{} belongs to another queue: it names database {}, {} is {}", marker_path,
                      marker_->database, directory_->database_path(), database_->identity()));
    }
    if (sequence >= marker_->sequence) return absl::OkStatus();
    const std::string& damage = database_->damage();
    return absl::DataLossError(fmt::format(
        "{}: acknowledged records are missing: the queue ends at {}, {} says {} ({} missing){}{}",
        newest_log.empty() ? directory_->database_path() : newest_log, sequence, marker_path,
        marker_->sequence, marker_->sequence - sequence, damage.empty() ? "" : "; ", damage));
  }

  // Takes what can be read, from the most honest way to the most desperate one.
  absl::Status Salvage(const absl::Status& reason) {
    // One that opened and cannot be read would delete and rename logs while they are copied.
    database_.reset();
    Log(Severity::kError, fmt::format("{}; going on, loss is accepted", TextOf(reason)));
    const absl::StatusOr<std::string> copy = directory_->CopyAside(absl::Now());
    if (!copy.ok()) return copy.status();
    Log(Severity::kWarning, fmt::format("the damaged files are kept in {}", *copy));

    absl::Status status = OpenSalvaged();
    if (status.ok() && !database_->Verify().ok()) status = Rebuild();
    if (!status.ok()) return status;
    return Settle();
  }

  // Copies what can be read into a new database, which then takes the place of this one in
  // one step.
  absl::Status Rebuild() {
    absl::StatusOr<std::string> path = directory_->PrepareRebuild();
    if (!path.ok()) return path.status();
    absl::StatusOr<std::unique_ptr<Database>> fresh =
        Database::Open(*path, options_, DatabaseMode{.create = true});
    if (!fresh.ok()) return fresh.status();
    const absl::StatusOr<uint64_t> copied =
        CopyReadableRecords(database_.get(), fresh->get(), options_.logger);
    if (!copied.ok()) return copied.status();
    fresh->reset();
    database_.reset();
    const absl::Status status = directory_->FinishRebuild();
    if (!status.ok()) return status;
    Log(Severity::kWarning, fmt::format("{} records could be read and were written anew", *copied));
    return OpenDatabase(DatabaseMode{});
  }

  absl::Status OpenSalvaged() {
    absl::Status status = absl::OkStatus();
    if (!directory_->HasCurrent()) status = directory_->RestoreCurrent();
    DatabaseMode mode;
    mode.salvage = true;
    for (const auto recovery : {rocksdb::WALRecoveryMode::kPointInTimeRecovery,
                                rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords}) {
      mode.wal_recovery_mode = recovery;
      if (directory_->HasCurrent()) status = OpenDatabase(mode);
      if (status.ok()) return status;
    }
    if (!directory_->RecordFiles().empty()) {
      status = Database::Repair(directory_->database_path(), options_);
      return status.ok() ? OpenDatabase(mode) : status;
    }
    if (directory_->HasCurrent()) return status;
    mode.create = true;  // Nothing is left: the operator accepted that too.
    return OpenDatabase(mode);
  }

  // Writes what was salvaged to tables, so that the damaged logs go, and proves that
  // the queue opens as any other from now on.
  absl::Status Settle() {
    const absl::StatusOr<uint64_t> records = database_->Records();
    if (!records.ok()) return records.status();
    const uint64_t sequence = *records;
    const absl::Status flushed = database_->FlushAll();
    if (!flushed.ok()) return flushed;
    const uint64_t expected = marker_ ? marker_->sequence : 0;
    loss_ = marker_ ? fmt::format(
                          "the queue ends at {}, the marker says {}: at least {} records "
                          "are missing",
                          sequence, expected, expected > sequence ? expected - sequence : 0)
                    : fmt::format(
                          "the queue ends at {}; without a marker the number of missing "
                          "records is unknown",
                          sequence);
    Log(Severity::kWarning, loss_);
    database_.reset();
    return OpenDatabase(DatabaseMode{});
  }

  uint64_t NextId() const {
    if (!marker_) return 0;
    return marker_->next_id + (loss_.empty() ? 0 : kIdsSinceMarkerMax);
  }

  void Log(Severity severity, std::string line) const {
    if (options_.logger != nullptr) options_.logger->Log(severity, "queue", std::move(line));
  }

  const RocksdbStoreOptions& options_;
  std::unique_ptr<StoreDirectory> directory_;
  std::optional<StoreMarker> marker_;
  std::unique_ptr<Database> database_;
  std::string loss_;  // What was accepted; empty: none.
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenRocksdbStore(const RocksdbStoreOptions& options) {
  absl::StatusOr<std::unique_ptr<StoreDirectory>> directory =
      StoreDirectory::Open(options.directory);
  if (!directory.ok()) return directory.status();
  return Opening(options, *std::move(directory)).Run();
}

}  // namespace mailrace::queue
