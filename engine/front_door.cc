#include "engine/front_door.h"

#include <utility>

#include "engine/admin/control_protocol.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

ControlParts WithShard(ControlParts parts, ShardRuntime* here) {
  parts.here = here;
  return parts;
}

}  // namespace

FrontDoor::FrontDoor(ShardRuntime* here, const std::vector<std::unique_ptr<ShardThread>>* shards,
                     ControlParts control)
    : here_(here),
      shards_(shards),
      listener_(here->submission_context, &here->ring->network(),
                [this](transport::AcceptedPeer peer, bool implicit_tls) {
                  HandOver(peer, implicit_tls);
                }),
      handler_(WithShard(std::move(control), here)),
      control_(&here->ring->loop(), &here->ring->network(), &handler_) {}

absl::Status FrontDoor::Open(const config::Options& options) {
  for (const SocketAddress& address : options.submission.submission_listen) {
    if (absl::Status status = listener_.Listen(address, false); !status.ok()) return status;
  }
  for (const SocketAddress& address : options.submission.submission_tls_listen) {
    if (absl::Status status = listener_.Listen(address, true); !status.ok()) return status;
  }
  const std::string path = ControlSocketPath(options.general.queue_directory);
  absl::StatusOr<std::unique_ptr<transport::Listener>> socket =
      here_->ring->network().ListenUnix(path, 0600);
  if (!socket.ok()) {
    return absl::Status(socket.status().code(),
                        fmt::format("{}: {}", path, std::string(socket.status().message())));
  }
  control_.Start(*std::move(socket));
  return absl::OkStatus();
}

// Clients in turn: each connection brings about the same load.
void FrontDoor::HandOver(transport::AcceptedPeer peer, bool implicit_tls) {
  const size_t shard = next_shard_++ % shards_->size();
  (*shards_)[shard]->Post([peer, implicit_tls](ShardRuntime* runtime) {
    runtime->submissions->Serve(peer, implicit_tls);
  });
}

Task<void> FrontDoor::Stop() {
  co_await listener_.Stop();
  handler_.Stop();
  control_.Stop();
  co_await control_.Join();
}

}  // namespace mailrace::engine
