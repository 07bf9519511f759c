// The marker: a small fsynced file beside the database that says what was acknowledged,
// so that a queue which comes back short or empty is noticed (invariant I4). It lags
// the commits by a stated moment and never costs them a sync.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/file_system.h"

namespace mailrace::queue {

// The queue format that this program writes and the newest that it reads. 2 added the
// intake records, 3 logs that are written over; older queues are taken over at start.
inline constexpr uint64_t kQueueFormat = 3;

struct StoreMarker {
  std::string database;   // RocksDB's identity of the database that it belongs to.
  uint64_t sequence = 0;  // How many records were acknowledged (Database::kRecordsKey).
  uint64_t next_id = 0;   // Above every queue id used until then.
  uint64_t format = kQueueFormat;
  friend bool operator==(const StoreMarker&, const StoreMarker&) = default;
};

// A few lines of text, for people too.
std::string FormatMarker(const StoreMarker& marker);
// DataLoss: damaged. FailedPrecondition: a newer format.
absl::StatusOr<StoreMarker> ParseMarker(std::string_view text);

std::string MarkerPath(const std::string& directory);
// Nothing if there is no marker. Errors name the file.
absl::StatusOr<std::optional<StoreMarker>> ReadMarker(rocksdb::FileSystem* file_system,
                                                      const std::string& directory);
// Atomic and durable: a new file, synced, renamed over the old one, the directory synced.
absl::Status WriteMarker(rocksdb::FileSystem* file_system, const std::string& directory,
                         const StoreMarker& marker);

}  // namespace mailrace::queue
