#include "engine/entropy/exchange_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mailrace::entropy {
namespace {

// Each time round another process replaced the file within our wait for its lock.
constexpr int kLockTriesMax = 100;

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool WriteAll(int fd, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t n = write(fd, octets.data(), octets.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    octets.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool SyncDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = fsync(fd) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return synced;
}

}  // namespace

ExchangeFile::~ExchangeFile() { Close(); }

void ExchangeFile::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

absl::Status ExchangeFile::Failed(std::string_view verb) const {
  return absl::UnavailableError(
      fmt::format("cannot {} PRNG exchange file {}: {}", verb, path_, std::strerror(errno)));
}

absl::Status ExchangeFile::Open() {
  Close();
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd_ < 0) return Failed("open");
  struct stat status{};
  if (fstat(fd_, &status) == 0 && S_ISREG(status.st_mode) && fchmod(fd_, 0600) == 0) {
    return absl::OkStatus();
  }
  if (!S_ISREG(status.st_mode)) errno = EINVAL;
  const absl::Status failed = Failed("open");
  Close();
  return failed;
}

bool ExchangeFile::Removed() const {
  struct stat ours{};
  struct stat named{};
  if (fstat(fd_, &ours) != 0 || ours.st_nlink > 0) return false;
  // No name left: removed, unless another process's update put its own file there.
  return lstat(path_.c_str(), &named) != 0;
}

absl::Status ExchangeFile::Lock() {
  for (int i = 0; i < kLockTriesMax; ++i) {
    while (flock(fd_, LOCK_EX) != 0) {
      if (errno != EINTR) return Failed("lock");
    }
    struct stat ours{};
    struct stat named{};
    if (fstat(fd_, &ours) == 0 && lstat(path_.c_str(), &named) == 0 && SameFile(ours, named)) {
      return absl::OkStatus();
    }
    if (absl::Status opened = Open(); !opened.ok()) return opened;
  }
  errno = EBUSY;
  return Failed("lock");
}

absl::Status ExchangeFile::Update(const std::function<void(std::string_view)>& mix,
                                  Random* random) {
  if (absl::Status locked = Lock(); !locked.ok()) return locked;
  std::string old(kExchangeOctets, '\0');
  const ssize_t n = pread(fd_, old.data(), old.size(), 0);
  if (n < 0) {
    const absl::Status failed = Failed("read");
    flock(fd_, LOCK_UN);
    return failed;
  }
  if (n > 0) mix(std::string_view(old).substr(0, static_cast<size_t>(n)));
  std::string fresh(kExchangeOctets, '\0');
  random->Fill({reinterpret_cast<uint8_t*>(fresh.data()), fresh.size()});
  absl::Status replaced = Replace(fresh);
  if (!replaced.ok()) flock(fd_, LOCK_UN);
  return replaced;
}

absl::Status ExchangeFile::Replace(std::string_view octets) {
  // Only the lock's holder uses this name; a crash can have left one.
  const std::string next_path = path_ + ".new";
  unlink(next_path.c_str());
  const int next =
      open(next_path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (next < 0) return Failed("write");
  const bool written = WriteAll(next, octets) && fsync(next) == 0 &&
                       rename(next_path.c_str(), path_.c_str()) == 0 && SyncDirectoryOf(path_);
  if (!written) {
    const absl::Status failed = Failed("write");
    close(next);
    unlink(next_path.c_str());
    return failed;
  }
  Close();  // Gives up the lock; who waits for it finds the new file by its name.
  fd_ = next;
  return absl::OkStatus();
}

}  // namespace mailrace::entropy
