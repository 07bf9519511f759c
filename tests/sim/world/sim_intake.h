// The real intake on a simulated host: one listener that hands clients round, and each
// shard's submission server, over the simulated network.
#pragma once

#include <memory>
#include <vector>

#include "engine/intake/submission_server.h"
#include "engine/shard.h"
#include "tests/sim/world/sim_network.h"

namespace mailrace::sim {

// Where applications submit.
SocketAddress SubmissionAddress();

class SimIntake {
 public:
  // All borrowed; they outlive the intake. Listens at once.
  SimIntake(Loop* loop, SimNetwork* network, Logger* logger,
            std::shared_ptr<const engine::IntakeOptions> options,
            std::vector<engine::Shard*> shards);
  // REQUIRES: Stop() was awaited.
  ~SimIntake();

  // No new clients; the others have `grace` to end.
  Task<void> Stop(absl::Duration grace);
  size_t sessions() const;

 private:
  struct Seat {
    engine::IntakeStats stats;
    engine::SubmissionContext context;
    std::unique_ptr<engine::SubmissionServer> server;
  };
  engine::ClientCounts clients_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::unique_ptr<engine::SubmissionListener> listener_;
  size_t next_ = 0;
};

}  // namespace mailrace::sim
