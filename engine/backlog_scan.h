// One slice of a scan for parked mail: which jobs of the store's messages are wanted. Runs
// on the thread that reads the store, between the reads that deliveries wait for, so that
// it looks at a bounded number of records and gives back a bounded number of jobs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/queue_id.h"
#include "engine/backlog.h"
#include "engine/queue_id_source.h"
#include "engine/recovered_job.h"
#include "engine/settings.h"
#include "queue/store.h"

namespace mailrace::engine {

// Whose mail it is.
struct ShardShare {
  int shard = 0;
  int shards = 1;
  // Ids below were there at start and are divided by their number; later ones belong to
  // the shard that gave them.
  uint64_t highest_id_at_start = 0;

  bool Owns(QueueId id) const {
    if (id.value < highest_id_at_start) return QueueIdSource::ShardOf(id, shards) == shard;
    return QueueIdSource::GivenBy(id) == shard;
  }
};

struct BacklogScan {
  static constexpr size_t kRecordsMax = 4096;
  static constexpr size_t kFindsMax = 512;  // And those of one more record.

  BacklogWishes wishes;
  // Routes changed: every job of every message is wanted, due or not.
  bool everything = false;
  ShardShare share;
  std::shared_ptr<const Settings> settings;
  absl::Time now;  // Wall clock.
};

struct BacklogFinds {
  std::vector<RecoveredJob> jobs;  // In the order of ids.
  // Wanted, but there is no room for these and those of the same nexthop behind them.
  std::vector<std::pair<std::string, QueueId>> refused;
  // Deferred and not yet due: which, by the minute after which they are.
  std::map<int64_t, IdRange> later;
  std::optional<QueueId> next;  // The first that was not looked at; nothing: the end.
  // Cannot be read; they stay in the store for an operator.
  std::vector<std::pair<QueueId, absl::Status>> damaged;
};

// Any thread. Errors: the store's.
absl::StatusOr<BacklogFinds> RunScan(queue::Store* store, const BacklogScan& scan);

}  // namespace mailrace::engine
