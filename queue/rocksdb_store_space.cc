#include "queue/rocksdb_store_space.h"

#include <pthread.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::queue {
namespace {

// Of the time: to measure a large queue means to look into all of its tables.
constexpr int kShareOfMeasuring = 50;
constexpr absl::Duration kLongestPause = absl::Hours(1);

uint64_t Number(const std::map<std::string, std::string>& properties, const std::string& name) {
  const auto it = properties.find(name);
  return it == properties.end() ? 0 : ParseUint(it->second).value_or(0);
}

}  // namespace

SpaceKeeper::SpaceKeeper(const Database* database, std::string directory, LiveRecords live,
                         absl::Duration interval, uint64_t dead_octets_min, Logger* logger)
    : database_(database),
      directory_(std::move(directory)),
      live_(std::move(live)),
      interval_(interval),
      dead_octets_min_(dead_octets_min),
      logger_(logger),
      thread_([this] { Run(); }) {}

SpaceKeeper::~SpaceKeeper() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void SpaceKeeper::Run() {
  pthread_setname_np(pthread_self(), "space");
  absl::Duration pause = interval_;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait_for(lock, absl::ToChronoNanoseconds(pause), [&] { return closing_.load(); });
    if (closing_) return;
    lock.unlock();
    const auto begun = std::chrono::steady_clock::now();
    for (const Family family : {Family::kBody, Family::kMessage}) Look(family);
    const absl::Duration looked = absl::FromChrono(std::chrono::steady_clock::now() - begun);
    pause = std::min(interval_ + looked * kShareOfMeasuring, kLongestPause);
    lock.lock();
  }
}

void SpaceKeeper::Look(Family family) {
  // Known without looking into a table.
  if (Property(family, rocksdb::DB::Properties::kTotalSstFilesSize) < dead_octets_min_) return;
  const Holding before = Measure(family);
  if (before.dead_octets < dead_octets_min_ || before.dead_octets < before.octets / 3) return;
  // What lives is written before the old tables go.
  if (before.live_octets > FreeOctets() / 4 * 3) return;
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.canceled = &closing_;
  const rocksdb::Status status =
      database_->db()->CompactRange(options, database_->family(family), nullptr, nullptr);
  // What went wrong is in the log already, by RocksDB's own events; the next look tries again.
  const uint64_t after = Property(family, rocksdb::DB::Properties::kTotalSstFilesSize);
  if (!status.ok() || logger_ == nullptr || after >= before.octets) return;
  logger_->Log(Severity::kInfo, "queue",
               fmt::format("space of mail that is gone: {} octets of tables given back, {} left",
                           before.octets - after, after));
}

// A table counts its puts and removals together; both of a pair are dead.
SpaceKeeper::Holding SpaceKeeper::Measure(Family family) const {
  std::map<std::string, std::string> properties;
  const std::optional<uint64_t> live = live_(family);
  if (!live || !database_->db()->GetMapProperty(database_->family(family),
                                                rocksdb::DB::Properties::kAggregatedTableProperties,
                                                &properties)) {
    return {};
  }
  const auto entries = static_cast<double>(Number(properties, "num_entries"));
  if (entries == 0) return {};
  const double share = std::min(1.0, static_cast<double>(*live) / entries);
  Holding holding;
  holding.octets = Property(family, rocksdb::DB::Properties::kTotalSstFilesSize);
  const auto octets = static_cast<double>(holding.octets);
  holding.dead_octets = static_cast<uint64_t>(octets * (1 - share));
  // Half of the entries may be removals, which have hardly any.
  holding.live_octets = static_cast<uint64_t>(octets * std::min(1.0, 2 * share));
  return holding;
}

uint64_t SpaceKeeper::Property(Family family, const std::string& name) const {
  uint64_t value = 0;
  const bool known = database_->db()->GetIntProperty(database_->family(family), name, &value);
  return known ? value : 0;
}

uint64_t SpaceKeeper::FreeOctets() const {
  struct statvfs file_system;
  if (::statvfs(directory_.c_str(), &file_system) != 0) return 0;
  return static_cast<uint64_t>(file_system.f_bavail) * file_system.f_frsize;
}

}  // namespace mailrace::queue
