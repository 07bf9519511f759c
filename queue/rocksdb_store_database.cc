#include "queue/rocksdb_store_database.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_overwrite.h"
#include "queue/rocksdb_store_status.h"
#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/slice_transform.h"
#include "rocksdb/table.h"

namespace mailrace::queue {
namespace {

constexpr const char* kFamilyNames[kFamilies] = {"message", "body", "done", "retry", "intake"};
// A queue of an older format has the first so many; the others are made when it is opened.
constexpr int kFamiliesAtFirst = 4;
constexpr int kOpenFilesMax = 512;

// A flush takes three full memtables of a family together, so that a record and its
// removal meet although they lie in different ones; a fourth fills meanwhile. Writes
// slow down at five waiting ones and stop at six.
constexpr int kMemtablesMerged = 3;
constexpr int kMemtablesMax = 6;

rocksdb::DBOptions MakeDbOptions(const RocksdbStoreOptions& options, const DatabaseMode& mode,
                                 rocksdb::Env* env) {
  rocksdb::DBOptions db;
  db.env = env;
  db.create_if_missing = mode.create;
  db.create_missing_column_families =
      mode.create || mode.complete || (mode.salvage && !mode.read_only);
  db.wal_recovery_mode = mode.wal_recovery_mode;
  // A refused start must not rewrite what it refused; and a restart is quicker.
  db.avoid_flush_during_recovery = !mode.salvage;
  db.paranoid_checks = !(mode.read_only && mode.salvage);
  // Notices a whole log that is gone while newer ones are there. Never together with
  // DB::SyncWAL, which 7.8 gets wrong; every write here syncs by itself.
  db.track_and_verify_wals_in_manifest = !mode.salvage;
  db.write_dbid_to_manifest = true;  // The identity survives the loss of its file.
  db.recycle_log_file_num = 0;
  db.manual_wal_flush = false;
  db.WAL_ttl_seconds = 0;
  db.wal_compression = rocksdb::kNoCompression;
  // All families together; the logs are replayed at start, so they are bounded too.
  db.db_write_buffer_size = options.memtable_octets;
  db.max_total_wal_size = 2 * options.memtable_octets;
  db.max_open_files = kOpenFilesMax;
  db.max_background_jobs = 2;
  db.bytes_per_sync = 1 << 20;  // A flush does not make the next sync of the log wait long.
  db.max_manifest_file_size = 16 << 20;
  db.allow_concurrent_memtable_write = false;  // There is one writer.
  db.enable_write_thread_adaptive_yield = false;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  // After a failed write that was written nevertheless, a record may be there twice
  // for one removal. Such a rest is found at start; it must not stop the queue.
  db.enforce_single_del_contracts = false;
  return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> MakeFamilies(const RocksdbStoreOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_octets);
  // A queue of ten million messages has gigabytes of tables: what finds records in them
  // is bounded too, and with large blocks there is little of it.
  table.cache_index_and_filter_blocks = true;
  table.block_size = 16 << 10;
  table.format_version = 5;
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.compression = rocksdb::kNoCompression;  // The disk is not the bottleneck, CPU is.
  family.max_write_buffer_number = kMemtablesMax;
  family.min_write_buffer_number_to_merge = kMemtablesMerged;
  // Envelopes and outcomes of as many messages as there are bodies in a full memtable.
  family.write_buffer_size = std::max<size_t>(options.memtable_octets / 32, 64 << 10);

  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, family);
  // Ids rise, and what is removed was written not long ago: an insertion that starts where
  // the last one was, not at the top of the list, needs a third of the comparisons.
  family.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
  // What is read back, a backlog, is in tables: up to six memtables say no before they do.
  family.memtable_whole_key_filtering = true;
  family.memtable_prefix_bloom_size_ratio = 0.02;
  for (const char* name : kFamilyNames) families.emplace_back(name, family);
  // Only retry records are often looked for and not there.
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  families[1 + static_cast<size_t>(Family::kRetry)].options.table_factory.reset(
      rocksdb::NewBlockBasedTableFactory(table));
  families[1 + static_cast<size_t>(Family::kBody)].options.write_buffer_size =
      std::max<size_t>(options.memtable_octets / (kMemtablesMerged + 1), 64 << 10);
  return families;
}

// Whether the database has all families of the first format and not yet all of ours. A
// family of the first format that is missing is damage.
bool IsOfOlderFormat(const std::string& path, const rocksdb::DBOptions& options) {
  std::vector<std::string> names;
  if (!rocksdb::DB::ListColumnFamilies(options, path, &names).ok()) return false;
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return std::all_of(kFamilyNames, kFamilyNames + kFamiliesAtFirst, has) &&
         !std::all_of(kFamilyNames + kFamiliesAtFirst, kFamilyNames + kFamilies, has);
}

std::shared_ptr<OverwrittenLogs> LogsOver(const RocksdbStoreOptions& options) {
  return std::make_shared<OverwrittenLogs>(
      options.file_system != nullptr ? options.file_system : rocksdb::FileSystem::Default(),
      options.logger);
}

absl::Status RefusedOpen(const rocksdb::Status& status, const std::string& what) {
  const std::string text = status.ToString();
  // RocksDB has no code for these two.
  if (text.find("Read-only file system") != text.npos) {
    return absl::FailedPreconditionError(
        fmt::format("{} is on a read-only file system: {}", what, text));
  }
  const bool file_missing = text.find("No such file") != text.npos;
  // A family that is missing or one too many is an InvalidArgument.
  if (file_missing || status.IsPathNotFound() || status.IsInvalidArgument()) {
    return absl::DataLossError(fmt::format("{}: {}", what, text));
  }
  return FromRocksdb(status, what);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                         const RocksdbStoreOptions& options,
                                                         const DatabaseMode& mode) {
  std::unique_ptr<Database> database(new Database());
  const std::shared_ptr<OverwrittenLogs> logs = LogsOver(options);
  if (!mode.read_only) {
    const rocksdb::IOStatus prepared = logs->Prepare(path, options.log_reserve_octets);
    if (!prepared.ok()) return RefusedOpen(prepared, path);
  }
  database->env_ = rocksdb::NewCompositeEnv(logs);
  database->log_sync_ = &logs->log_sync();
  rocksdb::Env* const env = database->env_.get();
  database->info_log_ = std::make_shared<RocksdbInfoLog>(options.logger);
  database->events_ = std::make_shared<RocksdbEvents>(options.logger);
  rocksdb::DBOptions db_options = MakeDbOptions(options, mode, env);
  const bool older = IsOfOlderFormat(path, db_options);
  if (!mode.read_only) db_options.create_missing_column_families |= older;
  db_options.info_log = database->info_log_;
  db_options.listeners.push_back(database->events_);

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  std::vector<rocksdb::ColumnFamilyDescriptor> families = MakeFamilies(options);
  if (mode.read_only && older) {
    families.erase(families.begin() + 1 + kFamiliesAtFirst, families.end());
  }
  const rocksdb::Status status =
      mode.read_only
          ? rocksdb::DB::OpenForReadOnly(db_options, path, families, &handles, &database->db_)
          : rocksdb::DB::Open(db_options, path, families, &handles, &database->db_);
  database->damage_ = database->info_log_->damage();
  if (!status.ok()) {
    std::string what = path;
    if (!database->damage_.empty()) what += fmt::format(": {}", database->damage_);
    return RefusedOpen(status, what);
  }
  std::copy(handles.begin(), handles.end(), database->families_.begin());
  return database;
}

absl::Status Database::Repair(const std::string& path, const RocksdbStoreOptions& options) {
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(LogsOver(options));
  DatabaseMode mode;
  mode.salvage = true;
  rocksdb::DBOptions db_options = MakeDbOptions(options, mode, env.get());
  db_options.info_log = std::make_shared<RocksdbInfoLog>(options.logger);
  return FromRocksdb(rocksdb::RepairDB(path, db_options, MakeFamilies(options)), path);
}

std::string Database::identity() const {
  std::string identity;
  if (!db_->GetDbIdentity(identity).ok()) return "unknown";
  return identity;
}

absl::StatusOr<uint64_t> Database::Records() const {
  std::string value;
  const rocksdb::Slice key(kRecordsKey.data(), kRecordsKey.size());
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), queue_family(), key, &value);
  if (status.IsNotFound()) return db_->GetLatestSequenceNumber();
  if (!status.ok()) return FromRocksdb(status, db_->GetName());
  const std::optional<QueueId> count = DecodeKey(value);
  if (!count) {
    return absl::DataLossError(fmt::format("{}: the count of records is damaged", db_->GetName()));
  }
  return count->value;
}

absl::Status Database::FlushAll() {
  for (rocksdb::ColumnFamilyHandle* const family : families_) {
    const rocksdb::Status status = db_->Flush(rocksdb::FlushOptions(), family);
    if (!status.ok()) return FromRocksdb(status, db_->GetName());
  }
  return absl::OkStatus();
}

absl::Status Database::Verify() { return FromRocksdb(db_->VerifyChecksum(), db_->GetName()); }

Database::~Database() {
  if (db_ == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* handle : families_) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db_->Close().PermitUncheckedError();  // Everything that counts was synced when it was written.
  delete db_;
}

}  // namespace mailrace::queue
