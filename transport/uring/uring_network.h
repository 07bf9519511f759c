// The system's network on one shard's ring.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "base/loop.h"
#include "transport/connection.h"
#include "transport/uring/ring.h"
#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

class ConnectOperation;

// Beyond transport::Network: Unix-domain sockets, for the administrator's side. Their
// peers have the zero address.
//
// Connect's errors: DeadlineExceeded, Cancelled, ResourceExhausted (descriptors,
// memory), else Unavailable with the system's words ("Connection refused").
class UringNetwork final : public Network {
 public:
  // `ring` and `loop` are borrowed and outlive the network and all that it makes.
  UringNetwork(Ring* ring, Loop* loop, const SocketOptions& options = {});
  ~UringNetwork() override;

  Task<absl::StatusOr<std::unique_ptr<Connection>>> Connect(SocketAddress remote,
                                                            std::optional<IpAddress> local,
                                                            MonoTime deadline) override;
  Task<absl::StatusOr<std::unique_ptr<Connection>>> ConnectUnix(std::string path,
                                                                MonoTime deadline);
  void CancelConnects() override;

  absl::StatusOr<std::unique_ptr<Listener>> Listen(SocketAddress address) override;
  // `mode` is that of the socket's file. Takes the place of a file that nobody listens
  // on; the listener removes the file when it is destroyed. AlreadyExists if somebody
  // listens there.
  absl::StatusOr<std::unique_ptr<Listener>> ListenUnix(const std::string& path, mode_t mode);

  std::unique_ptr<Connection> Adopt(AcceptedPeer peer) override;
  void Discard(AcceptedPeer peer) override;

 private:
  Task<absl::Status> ConnectSocket(int fd, SystemAddress remote, MonoTime deadline);

  Ring* ring_;
  Loop* loop_;
  const SocketOptions options_;
  absl::flat_hash_set<ConnectOperation*> connecting_;
};

}  // namespace mailrace::transport::uring
