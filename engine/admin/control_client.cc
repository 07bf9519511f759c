#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/admin/control_protocol.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Closes on every way out.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

absl::Status Await(int fd, short events, absl::Duration timeout) {
  pollfd poller{fd, events, 0};
  int n = 0;
  do {
    n = poll(&poller, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  } while (n < 0 && errno == EINTR);
  if (n > 0) return absl::OkStatus();
  return absl::DeadlineExceededError("the engine does not answer");
}

absl::Status SendAll(int fd, std::string_view octets, absl::Duration timeout) {
  while (!octets.empty()) {
    if (absl::Status ready = Await(fd, POLLOUT, timeout); !ready.ok()) return ready;
    const ssize_t n = send(fd, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return absl::UnavailableError(std::strerror(errno));
    octets.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ControlSocketPath(std::string_view queue_directory) {
  return fmt::format("{}/control", queue_directory);
}

namespace {

absl::Status Connect(int fd, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(fmt::format("{}: longer than a socket's name may be", path));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  const std::string text = fmt::format("{}: {}", path, std::strerror(error));
  if (error == EACCES) return absl::PermissionDeniedError(text);
  return absl::NotFoundError(fmt::format("mailrace is not running ({})", text));
}

absl::Status ReadAnswer(int fd, absl::Duration timeout,
                        const std::function<bool(std::string_view)>& line) {
  std::string pending;
  char octets[64 * 1024];
  while (true) {
    if (absl::Status ready = Await(fd, POLLIN, timeout); !ready.ok()) return ready;
    const ssize_t n = recv(fd, octets, sizeof octets, 0);
    if (n < 0 && errno == EINTR) continue;
    // It closed without reading all that was sent: what it said came first.
    if (n < 0 && errno == ECONNRESET) break;
    if (n < 0) return absl::UnavailableError(std::strerror(errno));
    if (n == 0) break;
    const size_t looked_at = pending.size();
    pending.append(octets, static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end = pending.find('\n', looked_at); end != std::string::npos;
         end = pending.find('\n', begin)) {
      if (!line(std::string_view(pending).substr(begin, end - begin))) return absl::OkStatus();
      begin = end + 1;
    }
    pending.erase(0, begin);
  }
  if (!pending.empty()) return absl::DataLossError("the engine's answer was cut short");
  return absl::OkStatus();
}

}  // namespace

absl::Status SendToEngine(const std::string& queue_directory, std::string_view request,
                          const ContentSource& content, absl::Duration timeout,
                          const std::function<bool(std::string_view)>& line) {
  const Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) return absl::InternalError(std::strerror(errno));
  absl::Status status = Connect(socket.fd(), ControlSocketPath(queue_directory));
  if (!status.ok()) return status;
  // Behind the brace that opens the object.
  status =
      SendAll(socket.fd(),
              fmt::format("{{\"protocol\":{},{}\n", kControlProtocol, request.substr(1)), timeout);
  while (status.ok() && content != nullptr) {
    const absl::StatusOr<std::string_view> piece = content();
    if (!piece.ok()) return piece.status();
    if (piece->empty()) break;
    status = SendAll(socket.fd(), *piece, timeout);
  }
  // Refused half-way: the answer says why.
  const absl::Status answered = ReadAnswer(socket.fd(), timeout, line);
  return status.ok() || answered.ok() ? answered : status;
}

absl::Status AskEngine(const std::string& queue_directory, std::string_view request,
                       absl::Duration timeout, const std::function<bool(std::string_view)>& line) {
  return SendToEngine(queue_directory, request, nullptr, timeout, line);
}

}  // namespace mailrace::engine
