#include "queue/rocksdb_store_status.h"

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::queue {

absl::Status FromRocksdb(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = fmt::format("{}: {}", what, Printable(status.ToString()));
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  return absl::InternalError(text);
}

std::string TextOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace mailrace::queue
