// RocksDB's statuses in our words. Mapped once, at this border.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "rocksdb/status.h"

namespace mailrace::queue {

// OK, NotFound, ResourceExhausted (no space), DataLoss (corruption; RocksDB's text names
// the file) or Internal (any other I/O error). `what` comes first in the text.
absl::Status FromRocksdb(const rocksdb::Status& status, std::string_view what);

// The message of an absl::Status as a std type.
std::string TextOf(const absl::Status& status);

}  // namespace mailrace::queue
