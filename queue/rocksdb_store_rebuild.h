// A database with damaged tables is copied, record by record, into a new one, once the
// operator has accepted loss: a damaged block would otherwise end every scan in front of it,
// at each start, and every compaction.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/logger.h"
#include "queue/rocksdb_store_database.h"

namespace mailrace::queue {

// Puts what can be read of `damaged` into `fresh`, an empty one, and flushes it. Damage is
// logged with its file (`logger` may be null). The number of records copied; an error is
// about `fresh`.
absl::StatusOr<uint64_t> CopyReadableRecords(Database* damaged, Database* fresh, Logger* logger);

}  // namespace mailrace::queue
