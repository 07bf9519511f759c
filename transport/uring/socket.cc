#include "transport/uring/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "fmt/format.h"

namespace mailrace::transport::uring {

namespace {

// The kernel cuts it to net.core.somaxconn.
constexpr int kBacklog = 4096;

void SetOption(int fd, int level, int name, int value) {
  // Only tuning: a socket without it works.
  setsockopt(fd, level, name, &value, sizeof value);
}

absl::Status Annotated(std::string_view what, int error_number) {
  const absl::Status status = SystemError(error_number);
  return {status.code(),
          fmt::format("{}: {}", what,
                      std::string_view(status.message().data(), status.message().size()))};
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

SystemAddress ToSystem(const SocketAddress& address) {
  SystemAddress system;
  if (address.ip.v6) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port);
    std::memcpy(&in6.sin6_addr, address.ip.octets.data(), sizeof in6.sin6_addr);
    std::memcpy(&system.storage, &in6, sizeof in6);
    system.length = sizeof in6;
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, address.ip.octets.data(), sizeof in.sin_addr);
    std::memcpy(&system.storage, &in, sizeof in);
    system.length = sizeof in;
  }
  return system;
}

SocketAddress FromSystem(const SystemAddress& system) {
  SocketAddress address;
  if (system.storage.ss_family == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, &system.storage, sizeof in6);
    address.ip.v6 = true;
    std::memcpy(address.ip.octets.data(), &in6.sin6_addr, sizeof in6.sin6_addr);
    address.port = ntohs(in6.sin6_port);
  } else if (system.storage.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &system.storage, sizeof in);
    std::memcpy(address.ip.octets.data(), &in.sin_addr, sizeof in.sin_addr);
    address.port = ntohs(in.sin_port);
  }
  return address;
}

absl::StatusOr<SystemAddress> ToSystem(const std::string& unix_path) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  if (unix_path.empty() || unix_path.size() >= sizeof un.sun_path ||
      unix_path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("'{}' is no path for a socket: 1 to {} octets",
                                                  unix_path, sizeof un.sun_path - 1));
  }
  std::memcpy(un.sun_path, unix_path.data(), unix_path.size());
  SystemAddress system;
  std::memcpy(&system.storage, &un, sizeof un);
  system.length = sizeof un;
  return system;
}

SocketAddress LocalAddress(int fd) {
  SystemAddress system;
  if (getsockname(fd, system.get(), &system.length) != 0) return {};
  return FromSystem(system);
}

bool IsResourceError(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM;
}

absl::Status SystemError(int error_number) {
  std::string words = std::generic_category().message(error_number);
  if (IsResourceError(error_number)) return absl::ResourceExhaustedError(words);
  if (error_number == ECANCELED) return absl::CancelledError("cancelled");
  return absl::UnavailableError(words);
}

absl::StatusOr<Descriptor> OpenTcpSocket(bool v6, const SocketOptions& options) {
  Descriptor socket(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (socket.get() < 0) return SystemError(errno);
  // Commands go out in groups already: Nagle's algorithm would only hold back the last.
  SetOption(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (v6) SetOption(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (options.send_buffer_octets > 0) {
    SetOption(socket.get(), SOL_SOCKET, SO_SNDBUF, options.send_buffer_octets);
  }
  if (options.receive_buffer_octets > 0) {
    SetOption(socket.get(), SOL_SOCKET, SO_RCVBUF, options.receive_buffer_octets);
  }
  return socket;
}

absl::StatusOr<Descriptor> OpenUnixSocket() {
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return SystemError(errno);
  return socket;
}

absl::Status BindSource(int fd, const IpAddress& local) {
  // The port is chosen at connect, when the whole four-tuple is known: otherwise the
  // ephemeral range limits all destinations together.
  SetOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  SystemAddress system = ToSystem(SocketAddress{local, 0});
  if (bind(fd, system.get(), system.length) != 0) {
    return Annotated(fmt::format("bind {}", local.ToString()), errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<Descriptor> ListenTcp(const SocketAddress& address, const SocketOptions& options) {
  absl::StatusOr<Descriptor> socket = OpenTcpSocket(address.ip.v6, options);
  if (!socket.ok()) return socket.status();
  SetOption(socket->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  SystemAddress system = ToSystem(address);
  if (bind(socket->get(), system.get(), system.length) != 0 ||
      listen(socket->get(), kBacklog) != 0) {
    return Annotated(fmt::format("listen on {}", address.ToString()), errno);
  }
  return socket;
}

absl::StatusOr<Descriptor> ListenUnix(const std::string& path, mode_t mode) {
  absl::StatusOr<SystemAddress> system = ToSystem(path);
  if (!system.ok()) return system.status();
  absl::StatusOr<Descriptor> socket = OpenUnixSocket();
  if (!socket.ok()) return socket.status();
  struct stat found{};
  if (lstat(path.c_str(), &found) == 0) {
    absl::StatusOr<Descriptor> trial = OpenUnixSocket();
    if (!trial.ok()) return trial.status();
    // What a killed process left refuses; somebody alive accepts or is busy (EAGAIN).
    const bool stale = S_ISSOCK(found.st_mode) &&
                       connect(trial->get(), system->get(), system->length) != 0 &&
                       errno == ECONNREFUSED;
    if (!stale) {
      return absl::AlreadyExistsError(fmt::format(
          "listen on {}: {}", path,
          S_ISSOCK(found.st_mode) ? "another process listens there" : "it is not a socket"));
    }
    unlink(path.c_str());
  }
  // The file gets the socket's mode less the umask, so that it is never open wider than
  // asked; chmod then gives what the umask took.
  if (fchmod(socket->get(), mode) != 0 || bind(socket->get(), system->get(), system->length) != 0) {
    return Annotated(fmt::format("listen on {}", path), errno);
  }
  if (chmod(path.c_str(), mode) != 0 || listen(socket->get(), kBacklog) != 0) {
    const int error_number = errno;
    unlink(path.c_str());
    return Annotated(fmt::format("listen on {}", path), error_number);
  }
  return socket;
}

}  // namespace mailrace::transport::uring
