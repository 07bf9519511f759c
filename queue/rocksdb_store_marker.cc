#include "queue/rocksdb_store_marker.h"

#include <charconv>
#include <memory>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"
#include "queue/checksum.h"
#include "queue/rocksdb_store_status.h"

// marker := "mailrace queue marker" LF
//           "format " decimal LF            always the second line, in every format
//           "database " text LF
//           "sequence " decimal LF
//           "next-id " decimal LF
//           "checksum " 8 hexadecimal LF    CRC-32C of all that stands before this line

namespace mailrace::queue {
namespace {

constexpr std::string_view kTitle = "mailrace queue marker\n";

// Takes `name SP value LF` from the front.
std::optional<std::string_view> TakeLine(std::string_view name, std::string_view* rest) {
  const size_t end = rest->find('\n');
  if (end == rest->npos || !rest->starts_with(name) || rest->size() <= name.size() ||
      (*rest)[name.size()] != ' ') {
    return std::nullopt;
  }
  const std::string_view value = rest->substr(name.size() + 1, end - name.size() - 1);
  rest->remove_prefix(end + 1);
  return value;
}

std::optional<uint64_t> TakeNumber(std::string_view name, std::string_view* rest) {
  const std::optional<std::string_view> value = TakeLine(name, rest);
  return value ? ParseUint(*value) : std::nullopt;
}

absl::Status Damaged() { return absl::DataLossError("the queue's marker is damaged"); }

rocksdb::IOStatus WriteNewFile(rocksdb::FileSystem* file_system, const std::string& path,
                               const std::string& text) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status =
      file_system->NewWritableFile(path, rocksdb::FileOptions(), &file, nullptr);
  if (!status.ok()) return status;
  status = file->Append(text, rocksdb::IOOptions(), nullptr);
  if (status.ok()) status = file->Fsync(rocksdb::IOOptions(), nullptr);
  const rocksdb::IOStatus closed = file->Close(rocksdb::IOOptions(), nullptr);
  return status.ok() ? closed : status;
}

rocksdb::IOStatus SyncDirectory(rocksdb::FileSystem* file_system, const std::string& directory) {
  std::unique_ptr<rocksdb::FSDirectory> handle;
  rocksdb::IOStatus status =
      file_system->NewDirectory(directory, rocksdb::IOOptions(), &handle, nullptr);
  if (!status.ok()) return status;
  return handle->FsyncWithDirOptions(rocksdb::IOOptions(), nullptr, rocksdb::DirFsyncOptions());
}

}  // namespace

std::string FormatMarker(const StoreMarker& marker) {
  std::string text = fmt::format("{}format {}\ndatabase {}\nsequence {}\nnext-id {}\n", kTitle,
                                 marker.format, marker.database, marker.sequence, marker.next_id);
  text += fmt::format("checksum {:08x}\n", Crc32c(text));
  return text;
}

absl::StatusOr<StoreMarker> ParseMarker(std::string_view text) {
  if (!text.starts_with(kTitle)) return Damaged();
  std::string_view rest = text.substr(kTitle.size());
  const std::optional<uint64_t> format = TakeNumber("format", &rest);
  if (!format || *format == 0) return Damaged();
  if (*format > kQueueFormat) {
    return absl::FailedPreconditionError(
        fmt::format("the queue has format {}, which a newer version wrote; this program knows "
                    "formats up to {}",
                    *format, kQueueFormat));
  }
  const std::optional<std::string_view> database = TakeLine("database", &rest);
  const std::optional<uint64_t> sequence = TakeNumber("sequence", &rest);
  const std::optional<uint64_t> next_id = TakeNumber("next-id", &rest);
  if (!database || !sequence || !next_id) return Damaged();
  const std::string_view covered = text.substr(0, text.size() - rest.size());
  if (rest != fmt::format("checksum {:08x}\n", Crc32c(covered))) return Damaged();
  return StoreMarker{std::string(*database), *sequence, *next_id, *format};
}

std::string MarkerPath(const std::string& directory) { return directory + "/marker"; }

absl::StatusOr<std::optional<StoreMarker>> ReadMarker(rocksdb::FileSystem* file_system,
                                                      const std::string& directory) {
  const std::string path = MarkerPath(directory);
  const rocksdb::IOStatus exists = file_system->FileExists(path, rocksdb::IOOptions(), nullptr);
  if (exists.IsNotFound()) return std::nullopt;
  std::string text;
  const rocksdb::IOStatus status = rocksdb::ReadFileToString(file_system, path, &text);
  if (!status.ok()) return FromRocksdb(status, path);
  absl::StatusOr<StoreMarker> marker = ParseMarker(text);
  if (!marker.ok()) {
    return absl::Status(marker.status().code(),
                        fmt::format("{}: {}", path, TextOf(marker.status())));
  }
  return *std::move(marker);
}

absl::Status WriteMarker(rocksdb::FileSystem* file_system, const std::string& directory,
                         const StoreMarker& marker) {
  const std::string path = MarkerPath(directory);
  const std::string fresh = path + ".new";
  rocksdb::IOStatus status = WriteNewFile(file_system, fresh, FormatMarker(marker));
  if (status.ok()) status = file_system->RenameFile(fresh, path, rocksdb::IOOptions(), nullptr);
  if (status.ok()) status = SyncDirectory(file_system, directory);
  return FromRocksdb(status, path);
}

}  // namespace mailrace::queue
