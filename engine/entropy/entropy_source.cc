#include "engine/entropy/entropy_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/clock.h"

namespace mailrace::entropy {
namespace {

absl::Status ErrnoStatus(int error) { return absl::UnavailableError(std::strerror(error)); }

// A descriptor whose reads and writes end at a deadline or when cancelled.
class TimedDescriptor {
 public:
  TimedDescriptor(int fd, absl::Duration time_limit, int cancel_fd)
      : fd_(fd), time_limit_(time_limit), cancel_fd_(cancel_fd) {}
  TimedDescriptor(const TimedDescriptor&) = delete;
  TimedDescriptor& operator=(const TimedDescriptor&) = delete;
  ~TimedDescriptor() { close(fd_); }

  // Starts the time limit of one Read.
  void Begin() { deadline_ = clock_.Mono() + time_limit_; }

  // Up to `octets`, what one read(2) gives; empty at the end of the file.
  absl::StatusOr<std::string> ReadSome(size_t octets) {
    std::string data(octets, '\0');
    while (true) {
      if (absl::Status ready = Wait(POLLIN); !ready.ok()) return ready;
      const ssize_t n = read(fd_, data.data(), data.size());
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n < 0) return ErrnoStatus(errno);
      data.resize(static_cast<size_t>(n));
      return data;
    }
  }

  // Exactly `octets`.
  absl::StatusOr<std::string> ReadAll(size_t octets) {
    std::string data;
    while (data.size() < octets) {
      absl::StatusOr<std::string> part = ReadSome(octets - data.size());
      if (!part.ok()) return part.status();
      if (part->empty()) return absl::UnavailableError("end of file");
      data += *part;
    }
    return data;
  }

  absl::Status WriteAll(std::string_view data) {
    while (!data.empty()) {
      if (absl::Status ready = Wait(POLLOUT); !ready.ok()) return ready;
      const ssize_t n = send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n < 0) return ErrnoStatus(errno);
      data.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Wait(int16_t events) {
    while (true) {
      const int64_t left = absl::ToInt64Milliseconds(deadline_ - clock_.Mono());
      pollfd fds[] = {{fd_, events, 0}, {cancel_fd_, POLLIN, 0}};
      const int n = poll(fds, 2, static_cast<int>(std::clamp<int64_t>(left, 0, INT32_MAX)));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno);
      if (fds[1].revents != 0) return absl::CancelledError(std::strerror(ECANCELED));
      if (n == 0) return ErrnoStatus(ETIMEDOUT);
      return absl::OkStatus();
    }
  }

  const int fd_;
  const absl::Duration time_limit_;
  const int cancel_fd_;
  const SystemClock clock_;  // A real peer's time limit: no simulation waits in poll(2).
  MonoTime deadline_;
};

class DeviceSource final : public EntropySource {
 public:
  DeviceSource(int fd, absl::Duration time_limit, int cancel_fd)
      : device_(fd, time_limit, cancel_fd) {}
  absl::StatusOr<std::string> Read(size_t octets) override {
    device_.Begin();
    absl::StatusOr<std::string> data = device_.ReadSome(std::min(octets, kReadOctetsMax));
    if (data.ok() && data->empty()) return absl::UnavailableError("end of file");
    return data;
  }

 private:
  TimedDescriptor device_;
};

class FileSource final : public EntropySource {
 public:
  FileSource(int fd, absl::Duration time_limit, int cancel_fd) : file_(fd, time_limit, cancel_fd) {}
  absl::StatusOr<std::string> Read(size_t octets) override {
    file_.Begin();
    std::string data;
    while (data.size() < octets) {
      absl::StatusOr<std::string> part = file_.ReadSome(octets - data.size());
      if (!part.ok()) return part.status();
      if (part->empty()) break;
      data += *part;
    }
    if (data.empty()) return absl::UnavailableError("file is empty");
    return data;
  }

 private:
  TimedDescriptor file_;
};

// The "read entropy, blocking" exchange of EGD: {0x01, n}; a count; that many octets.
class EgdSource final : public EntropySource {
 public:
  EgdSource(std::string path, int fd, absl::Duration time_limit, int cancel_fd)
      : path_(std::move(path)), server_(fd, time_limit, cancel_fd) {}

  absl::StatusOr<std::string> Read(size_t octets) override {
    server_.Begin();
    const char request[] = {0x01, static_cast<char>(std::min(octets, kReadOctetsMax))};
    if (absl::Status sent = server_.WriteAll({request, sizeof request}); !sent.ok()) {
      return Failed(fmt::format("cannot write to EGD server {}", path_), sent);
    }
    const absl::StatusOr<std::string> count = server_.ReadAll(1);
    if (!count.ok()) {
      return Failed(fmt::format("cannot read from EGD server {}", path_), count.status());
    }
    const size_t available = static_cast<uint8_t>(count->front());
    if (available == 0) {
      return absl::UnavailableError(
          fmt::format("EGD server {} reports zero bytes available", path_));
    }
    absl::StatusOr<std::string> data = server_.ReadAll(available);
    if (!data.ok()) {
      return Failed(fmt::format("cannot read {} bytes from EGD server {}", available, path_),
                    data.status());
    }
    return data;
  }

 private:
  static absl::Status Failed(const std::string& what, const absl::Status& why) {
    return {why.code(), fmt::format("{}: {}", what, std::string(why.message()))};
  }

  const std::string path_;
  TimedDescriptor server_;
};

absl::StatusOr<int> ConnectUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ErrnoStatus(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus(errno);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  close(fd);
  return ErrnoStatus(error);
}

}  // namespace

SourceName SourceName::Parse(std::string_view tls_random_source) {
  if (tls_random_source.empty()) return {};
  const std::string_view prefix = tls_random_source.substr(0, 4);
  if (prefix == "dev:") return {SourceKind::kDevice, std::string(tls_random_source.substr(4))};
  if (prefix == "egd:") return {SourceKind::kEgd, std::string(tls_random_source.substr(4))};
  return {SourceKind::kFile, std::string(tls_random_source)};
}

absl::StatusOr<std::unique_ptr<EntropySource>> OpenSource(const SourceName& name,
                                                          absl::Duration time_limit,
                                                          int cancel_fd) {
  if (name.kind == SourceKind::kEgd) {
    const absl::StatusOr<int> fd = ConnectUnix(name.path);
    if (!fd.ok()) return fd.status();
    return std::make_unique<EgdSource>(name.path, *fd, time_limit, cancel_fd);
  }
  // Not blocking, so that a FIFO without a writer cannot hold the thread in open(2).
  const int fd = open(name.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno);
  if (name.kind == SourceKind::kDevice) {
    return std::make_unique<DeviceSource>(fd, time_limit, cancel_fd);
  }
  return std::make_unique<FileSource>(fd, time_limit, cancel_fd);
}

}  // namespace mailrace::entropy
