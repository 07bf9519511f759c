#include "queue/rocksdb_store_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "fmt/format.h"
#include "queue/log_frame.h"

namespace mailrace::queue {
namespace {

namespace fs = std::filesystem;

absl::Status FromErrno(int error, std::string_view what, const std::string& path) {
  if (error == EROFS) {
    return absl::FailedPreconditionError(
        fmt::format("queue directory {} is on a read-only file system", path));
  }
  const std::string text = fmt::format("cannot {} {}: {}", what, path, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(text);
  return absl::InternalError(text);
}

absl::Status SyncDirectory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return FromErrno(errno, "open", path);
  const int failed = ::fsync(directory) != 0 ? errno : 0;
  ::close(directory);
  return failed == 0 ? absl::OkStatus() : FromErrno(failed, "sync", path);
}

// Made now, or there with our owner and nobody else's write permission.
absl::Status MakeOrCheck(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) {
    // The name itself must survive a power cut, else the queue in it does not.
    const fs::path parent = fs::path(path).parent_path();
    return SyncDirectory(parent.empty() ? "." : parent.string());
  }
  if (errno != EEXIST) return FromErrno(errno, "make", path);
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return FromErrno(errno, "examine", path);
  if (!S_ISDIR(status.st_mode)) {
    return absl::FailedPreconditionError(fmt::format("{} is not a directory", path));
  }
  if (status.st_uid != ::geteuid()) {
    return absl::FailedPreconditionError(
        fmt::format("queue directory {} is owned by user id {}, this process runs as {}", path,
                    status.st_uid, ::geteuid()));
  }
  if ((status.st_mode & 0022) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("queue directory {} has mode {:04o}: group or others can write to it; "
                    "chmod go-w {}",
                    path, status.st_mode & 07777, path));
  }
  return absl::OkStatus();
}

absl::Status InUse(const std::string& directory, int lock) {
  char holder[32] = {};
  const ssize_t size = ::pread(lock, holder, sizeof(holder) - 1, 0);
  return absl::FailedPreconditionError(
      fmt::format("queue directory {} is in use by another instance (process {})", directory,
                  size > 0 ? std::string_view(holder, size) : "unknown"));
}

absl::StatusOr<int> TakeLock(const std::string& directory) {
  const std::string path = directory + "/lock";
  const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return FromErrno(errno, "open", errno == EROFS ? directory : path);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const absl::Status in_use = InUse(directory, lock);
    ::close(lock);
    return in_use;
  }
  // For whoever is refused. It does not matter if this fails (a full disk).
  const std::string pid = fmt::format("{}", ::getpid());
  if (::ftruncate(lock, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(lock, pid.data(), pid.size(), 0);
  }
  return lock;
}

// Nothing was ever written to the log that took this file.
bool WaitsForLog(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::string sector(kSectorOctets, '\0');
  const ssize_t size = ::pread(file, sector.data(), sector.size(), 0);
  ::close(file);
  return size == static_cast<ssize_t>(sector.size()) && IsSpareMark(sector);
}

bool HoldsRecords(const fs::directory_entry& entry) {
  const std::string extension = entry.path().extension().string();
  if (extension == ".sst" || extension == ".blob") return true;
  std::error_code error;
  return extension == ".log" && entry.file_size(error) > 0 && !WaitsForLog(entry.path());
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreDirectory>> StoreDirectory::Open(const std::string& path) {
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (error) return FromErrno(error.value(), "make", parent.string());
  absl::Status status = MakeOrCheck(path);
  if (!status.ok()) return status;
  const absl::StatusOr<int> lock = TakeLock(path);
  if (!lock.ok()) return lock.status();
  std::unique_ptr<StoreDirectory> directory(new StoreDirectory(path, *lock));
  status = MakeOrCheck(directory->database_path());
  if (!status.ok()) return status;
  return directory;
}

absl::StatusOr<std::unique_ptr<StoreDirectory>> StoreDirectory::OpenToRead(
    const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path + "/queue", error)) {
    return absl::NotFoundError(fmt::format("{} holds no queue", path));
  }
  const std::string name = path + "/lock";
  int lock = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0 && errno != ENOENT) return FromErrno(errno, "open", name);
  // Without a lock file no instance ever was here: a copy.
  if (lock < 0) lock = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0) return FromErrno(errno, "open", path);
  if (::flock(lock, LOCK_SH | LOCK_NB) != 0) {
    const absl::Status in_use = InUse(path, lock);
    ::close(lock);
    return in_use;
  }
  return std::unique_ptr<StoreDirectory>(new StoreDirectory(path, lock));
}

StoreDirectory::~StoreDirectory() { ::close(lock_); }

bool StoreDirectory::HasCurrent() const {
  std::error_code error;
  return fs::exists(database_path() + "/CURRENT", error);
}

std::vector<std::string> StoreDirectory::RecordFiles() const {
  std::vector<std::string> files;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(database_path(), error)) {
    if (HoldsRecords(entry)) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string StoreDirectory::NewestLog() const {
  std::string newest;
  for (const std::string& file : RecordFiles()) {
    if (file.ends_with(".log")) newest = file;  // Numbers are padded: names sort by age.
  }
  return newest;
}

absl::Status StoreDirectory::RestoreCurrent() const {
  std::string newest;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(database_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("MANIFEST-")) newest = std::max(newest, name);
  }
  if (newest.empty()) {
    return absl::NotFoundError(fmt::format("{} has no MANIFEST", database_path()));
  }
  const std::string path = database_path() + "/CURRENT";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return FromErrno(errno, "make", path);
  newest += '\n';
  const bool written =
      ::write(file, newest.data(), newest.size()) == static_cast<ssize_t>(newest.size()) &&
      ::fsync(file) == 0;
  const int failed = written ? 0 : errno;
  ::close(file);
  return written ? SyncDirectory(database_path()) : FromErrno(failed, "write", path);
}

absl::StatusOr<std::string> StoreDirectory::CopyAside(absl::Time now) const {
  const std::string stem =
      fmt::format("{}.damaged-{}", database_path(),
                  absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()));
  std::string copy = stem;
  for (int n = 2; ::mkdir(copy.c_str(), 0700) != 0; ++n) {
    if (errno != EEXIST) return FromErrno(errno, "make", copy);
    copy = fmt::format("{}-{}", stem, n);
  }
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(database_path(), error)) {
    const fs::path target = fs::path(copy) / entry.path().filename();
    const std::string extension = entry.path().extension().string();
    if (extension == ".spare") continue;
    if (extension == ".sst" || extension == ".blob") {
      fs::create_hard_link(entry.path(), target, error);
      if (!error) continue;
    }
    fs::copy_file(entry.path(), target, error);
    if (error) return FromErrno(error.value(), "copy", entry.path().string());
  }
  if (error) return FromErrno(error.value(), "read", database_path());
  const fs::path marker = path_ + "/marker";
  if (fs::exists(marker, error)) fs::copy_file(marker, fs::path(copy) / "marker", error);
  if (error) return FromErrno(error.value(), "copy", marker.string());
  const int handle = ::open(copy.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return FromErrno(errno, "open", copy);
  const int failed = ::syncfs(handle) != 0 ? errno : 0;
  ::close(handle);
  if (failed != 0) return FromErrno(failed, "sync", copy);
  return copy;
}

absl::StatusOr<std::string> StoreDirectory::PrepareRebuild() const {
  std::string path = database_path() + ".rebuilt";
  std::error_code error;
  fs::remove_all(path, error);  // Of an attempt that was cut short.
  if (error) return FromErrno(error.value(), "remove", path);
  const absl::Status made = MakeOrCheck(path);
  if (!made.ok()) return made;
  return path;
}

absl::Status StoreDirectory::FinishRebuild() const {
  const std::string path = database_path() + ".rebuilt";
  if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, database_path().c_str(), RENAME_EXCHANGE) !=
      0) {
    return FromErrno(errno, "rename", path);
  }
  const absl::Status synced = SyncDirectory(path_);
  if (!synced.ok()) return synced;
  std::error_code error;
  fs::remove_all(path, error);
  return error ? FromErrno(error.value(), "remove", path) : absl::OkStatus();
}

}  // namespace mailrace::queue
