#include "queue/rocksdb_store_rebuild.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>

#include "base/text.h"
#include "fmt/format.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_status.h"
#include "rocksdb/write_batch.h"

namespace mailrace::queue {
namespace {

constexpr uint64_t kLast = std::numeric_limits<uint64_t>::max();
constexpr size_t kBatchOctets = 4 << 20;

class FamilyCopy {
 public:
  FamilyCopy(Database* damaged, Database* fresh, Logger* logger)
      : damaged_(damaged), fresh_(fresh), logger_(logger) {}

  absl::Status Run(rocksdb::ColumnFamilyHandle* from, rocksdb::ColumnFamilyHandle* to) {
    from_ = from;
    SeekTo(0);
    uint64_t id = 0;
    for (SkipDamage(id); record_->Valid(); SkipDamage(id)) {
      id = IdOf(record_->key());
      batch_.Put(to, record_->key(), record_->value()).PermitUncheckedError();
      ++records_;
      const absl::Status written = Write(kBatchOctets);
      if (!written.ok()) return written;
      record_->Next();
    }
    record_.reset();
    return Write(1);
  }

  uint64_t records() const { return records_; }

 private:
  static uint64_t IdOf(const rocksdb::Slice& key) {
    const std::optional<QueueId> id =
        DecodeKey(key.ToStringView().substr(0, std::min<size_t>(key.size(), 8)));
    return id ? id->value : 0;
  }

  // False: what comes there cannot be read.
  bool SeekTo(uint64_t id) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    // A new one each time: an iterator that met damage once does not get over it.
    record_.reset(damaged_->db()->NewIterator(options, from_));
    if (id == 0) {
      record_->SeekToFirst();
    } else {
      record_->Seek(EncodeKey(QueueId{id}));
    }
    return record_->status().ok();
  }

  // Where damage ended the iterator behind `after`: on to the first record behind it that
  // can be read. By ever longer steps over the damage, then by halves back to its end: keys
  // begin with ids of a clock, and blocks are small, so it takes some dozens of seeks.
  void SkipDamage(uint64_t after) {
    if (record_->Valid() || record_->status().ok()) return;
    if (logger_ != nullptr) {
      logger_->Log(
          Severity::kError, "queue",
          fmt::format("{}; what is behind it is taken", Printable(record_->status().ToString())));
    }
    uint64_t damaged = after;
    uint64_t readable = kLast;
    for (uint64_t step = 1; step<kLast - after; step = step> kLast / 2 ? kLast : 2 * step) {
      if (SeekTo(after + step)) {
        readable = after + step;
        break;
      }
      damaged = after + step;
    }
    while (readable - damaged > 1) {
      const uint64_t middle = damaged + (readable - damaged) / 2;
      (SeekTo(middle) ? readable : damaged) = middle;
    }
    SeekTo(readable);
  }

  absl::Status Write(size_t at_least) {
    if (batch_.Count() == 0 || batch_.GetDataSize() < at_least) return absl::OkStatus();
    const rocksdb::Status status = fresh_->db()->Write(rocksdb::WriteOptions(), &batch_);
    batch_.Clear();
    return FromRocksdb(status, fresh_->db()->GetName());
  }

  Database* const damaged_;
  Database* const fresh_;
  Logger* const logger_;
  rocksdb::ColumnFamilyHandle* from_ = nullptr;
  std::unique_ptr<rocksdb::Iterator> record_;
  rocksdb::WriteBatch batch_;
  uint64_t records_ = 0;
};

}  // namespace

absl::StatusOr<uint64_t> CopyReadableRecords(Database* damaged, Database* fresh, Logger* logger) {
  FamilyCopy copy(damaged, fresh, logger);
  absl::Status status = copy.Run(damaged->queue_family(), fresh->queue_family());
  for (int i = 0; status.ok() && i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    status = copy.Run(damaged->family(family), fresh->family(family));
  }
  if (status.ok()) status = fresh->FlushAll();
  if (!status.ok()) return status;
  return copy.records();
}

}  // namespace mailrace::queue
