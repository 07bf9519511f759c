// The system's sockets behind our address types, and errno's way into absl::Status.
// Private to this folder.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/socket_address.h"

namespace mailrace::transport::uring {

// Closes what it holds.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct SystemAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

struct SocketOptions {
  // SO_SNDBUF and SO_RCVBUF; 0 leaves them to the kernel's tuning, which is best but
  // for tests of back-pressure and hosts with very many connections.
  int send_buffer_octets = 0;
  int receive_buffer_octets = 0;
};

SystemAddress ToSystem(const SocketAddress& address);
// The zero address for families that have no IP address.
SocketAddress FromSystem(const SystemAddress& address);
// InvalidArgument if `path` is empty or too long for a sockaddr_un.
absl::StatusOr<SystemAddress> ToSystem(const std::string& unix_path);
SocketAddress LocalAddress(int fd);

// ResourceExhausted for descriptors and memory, Cancelled, else Unavailable; the
// system's words alone.
absl::Status SystemError(int error_number);
bool IsResourceError(int error_number);

// Stream sockets, blocking: on one with O_NONBLOCK io_uring reports EAGAIN rather than
// wait.
absl::StatusOr<Descriptor> OpenTcpSocket(bool v6, const SocketOptions& options);
absl::StatusOr<Descriptor> OpenUnixSocket();
absl::Status BindSource(int fd, const IpAddress& local);
absl::StatusOr<Descriptor> ListenTcp(const SocketAddress& address, const SocketOptions& options);
// Replaces a socket that nobody listens on any more; AlreadyExists if somebody does or
// the path is something else.
absl::StatusOr<Descriptor> ListenUnix(const std::string& path, mode_t mode);

}  // namespace mailrace::transport::uring
