#include "tests/sim/world/sim_intake.h"

#include <cstdlib>
#include <utility>

namespace mailrace::sim {

SocketAddress SubmissionAddress() { return {*IpAddress::Parse("127.0.0.1"), 2525}; }

SimIntake::SimIntake(Loop* loop, SimNetwork* network, Logger* logger,
                     std::shared_ptr<const engine::IntakeOptions> options,
                     std::vector<engine::Shard*> shards) {
  for (engine::Shard* shard : shards) {
    auto seat = std::make_unique<Seat>();
    seat->context = {loop, shard, logger, &seat->stats, &clients_};
    seat->server = std::make_unique<engine::SubmissionServer>(&seat->context, network, options);
    seats_.push_back(std::move(seat));
  }
  listener_ = std::make_unique<engine::SubmissionListener>(
      &seats_.front()->context, network, [this](transport::AcceptedPeer peer, bool implicit_tls) {
        seats_[next_++ % seats_.size()]->server->Serve(peer, implicit_tls);
      });
  if (!listener_->Listen(SubmissionAddress(), false).ok()) std::abort();
}

SimIntake::~SimIntake() = default;

Task<void> SimIntake::Stop(absl::Duration grace) {
  co_await listener_->Stop();
  for (const std::unique_ptr<Seat>& seat : seats_) co_await seat->server->Stop(grace);
}

size_t SimIntake::sessions() const {
  size_t sum = 0;
  for (const std::unique_ptr<Seat>& seat : seats_) sum += seat->server->sessions();
  return sum;
}

}  // namespace mailrace::sim
