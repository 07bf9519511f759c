// What the first shard does for all: it accepts clients and hands each to a shard, and
// it serves the administrator. Lives on the first shard.
#pragma once

#include <memory>
#include <vector>

#include "engine/admin/control_handler.h"
#include "engine/admin/control_server.h"
#include "engine/config/options.h"
#include "engine/intake/submission_server.h"
#include "engine/shard_thread.h"

namespace mailrace::engine {

class FrontDoor {
 public:
  // `shards` is borrowed and outlives the door.
  FrontDoor(ShardRuntime* here, const std::vector<std::unique_ptr<ShardThread>>* shards,
            ControlParts control);

  // Opens every listener; the error names the address or path.
  absl::Status Open(const config::Options& options);
  std::vector<SocketAddress> addresses() const { return listener_.addresses(); }
  Task<void> Stop();

 private:
  void HandOver(transport::AcceptedPeer peer, bool implicit_tls);

  ShardRuntime* const here_;
  const std::vector<std::unique_ptr<ShardThread>>* const shards_;
  size_t next_shard_ = 0;
  SubmissionListener listener_;
  EngineControl handler_;
  ControlServer control_;
};

}  // namespace mailrace::engine
