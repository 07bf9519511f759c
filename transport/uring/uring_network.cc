#include "transport/uring/uring_network.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "transport/uring/connect_operation.h"
#include "transport/uring/uring_connection.h"
#include "transport/uring/uring_listener.h"

namespace mailrace::transport::uring {

UringNetwork::UringNetwork(Ring* ring, Loop* loop, const SocketOptions& options)
    : ring_(ring), loop_(loop), options_(options) {}

UringNetwork::~UringNetwork() {
  if (!connecting_.empty()) {
    std::fprintf(stderr, "mailrace: the network was destroyed while connecting\n");
    std::abort();
  }
}

Task<absl::Status> UringNetwork::ConnectSocket(int fd, SystemAddress remote, MonoTime deadline) {
  ConnectOperation operation(ring_, loop_, fd, remote, deadline);
  connecting_.insert(&operation);
  const absl::Status status = co_await operation;
  connecting_.erase(&operation);
  co_return status;
}

Task<absl::StatusOr<std::unique_ptr<Connection>>> UringNetwork::Connect(
    SocketAddress remote, std::optional<IpAddress> local, MonoTime deadline) {
  absl::StatusOr<Descriptor> socket = OpenTcpSocket(remote.ip.v6, options_);
  if (!socket.ok()) co_return socket.status();
  if (local.has_value()) {
    const absl::Status bound = BindSource(socket->get(), *local);
    if (!bound.ok()) co_return absl::FailedPreconditionError(bound.message());
  }
  const absl::Status connected = co_await ConnectSocket(socket->get(), ToSystem(remote), deadline);
  if (!connected.ok()) co_return connected;
  const SocketAddress source = LocalAddress(socket->get());
  co_return std::make_unique<UringConnection>(ring_, loop_, *std::move(socket), source, remote);
}

Task<absl::StatusOr<std::unique_ptr<Connection>>> UringNetwork::ConnectUnix(std::string path,
                                                                            MonoTime deadline) {
  const absl::StatusOr<SystemAddress> remote = ToSystem(path);
  if (!remote.ok()) co_return remote.status();
  absl::StatusOr<Descriptor> socket = OpenUnixSocket();
  if (!socket.ok()) co_return socket.status();
  const absl::Status connected = co_await ConnectSocket(socket->get(), *remote, deadline);
  if (!connected.ok()) co_return connected;
  co_return std::make_unique<UringConnection>(ring_, loop_, *std::move(socket), SocketAddress{},
                                              SocketAddress{});
}

void UringNetwork::CancelConnects() {
  for (ConnectOperation* operation : connecting_) operation->RequestCancel();
}

absl::StatusOr<std::unique_ptr<Listener>> UringNetwork::Listen(SocketAddress address) {
  absl::StatusOr<Descriptor> socket = ListenTcp(address, options_);
  if (!socket.ok()) return socket.status();
  return std::make_unique<UringListener>(ring_, loop_, *std::move(socket), "");
}

absl::StatusOr<std::unique_ptr<Listener>> UringNetwork::ListenUnix(const std::string& path,
                                                                   mode_t mode) {
  absl::StatusOr<Descriptor> socket = uring::ListenUnix(path, mode);
  if (!socket.ok()) return socket.status();
  return std::make_unique<UringListener>(ring_, loop_, *std::move(socket), path);
}

std::unique_ptr<Connection> UringNetwork::Adopt(AcceptedPeer peer) {
  return std::make_unique<UringConnection>(ring_, loop_, Descriptor(peer.handle), peer.local,
                                           peer.remote);
}

void UringNetwork::Discard(AcceptedPeer peer) { close(peer.handle); }

}  // namespace mailrace::transport::uring
