// Gives back the disk space of mail that is gone. RocksDB compacts where much is written; a queue
// that has drained writes nothing, and its dead bodies would fill the disk for ever: with too
// little free space no mail is taken, so that nothing ever would be written again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/logger.h"
#include "queue/rocksdb_store_database.h"
#include "queue/write_set.h"

namespace mailrace::queue {

// A thread of its own: a compaction may take minutes. It looks at what tables hold once an
// interval, and rewrites a family's whenever at least a third of it is dead, so that each octet
// that is given back costs two at most.
class SpaceKeeper {
 public:
  // How many records of a family nobody has removed, in tables or in memory; nothing: not known
  // yet. Any thread.
  using LiveRecords = std::function<std::optional<uint64_t>(Family family)>;
  // Borrowed: `database`, which outlives this, and `logger`, which may be null. `directory` is of
  // its file system.
  SpaceKeeper(const Database* database, std::string directory, LiveRecords live,
              absl::Duration interval, uint64_t dead_octets_min, Logger* logger);
  // Breaks off a compaction under way, and waits for that.
  ~SpaceKeeper();
  SpaceKeeper(const SpaceKeeper&) = delete;
  SpaceKeeper& operator=(const SpaceKeeper&) = delete;

 private:
  // Of the tables of one family. Estimates: all records count alike.
  struct Holding {
    uint64_t octets = 0;
    uint64_t dead_octets = 0;
    uint64_t live_octets = 0;  // At most.
  };

  void Run();
  void Look(Family family);
  Holding Measure(Family family) const;
  uint64_t Property(Family family, const std::string& name) const;
  uint64_t FreeOctets() const;

  const Database* const database_;
  const std::string directory_;
  const LiveRecords live_;
  const absl::Duration interval_;
  const uint64_t dead_octets_min_;
  Logger* const logger_;

  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;  // Last: it uses the members above.
};

}  // namespace mailrace::queue
