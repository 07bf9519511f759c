// What must be so at every moment of a host's life: limits are kept, and whoever may run
// runs. Looked at after each step of the simulation.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/world/sim_host.h"

namespace mailrace::sim {

struct WatchLimits {
  // Sessions that all shards together may have with one address.
  size_t sessions_most = 0;
  // memory_octets_max of a shard, and the largest message there is.
  uint64_t memory_octets_most = 0;
  uint64_t message_octets_most = 0;
};

class Watch {
 public:
  // A destination with mail that could be sent, to which nothing is sent, for longer than
  // this is stuck, unless a rate delay will end by itself. Suspended destinations are not
  // meant, nor hosts whose disk refused something that recently.
  static constexpr absl::Duration kIdleMost = absl::Seconds(5);

  // A parked job that is due comes back and is sent within this, if its nexthop has nothing
  // else to do: an interval of the backlog's, the minute of a scan's, and scans that fail.
  static constexpr absl::Duration kParkedMost = absl::Minutes(5);

  // Borrowed.
  explicit Watch(SimHost* host) : host_(host) {}

  // Appends what is wrong to *wrong. `sites`: the addresses of the relays.
  void Look(const WatchLimits& limits, const std::vector<SocketAddress>& sites,
            std::vector<std::string>* wrong);

 private:
  void LookAtLimits(const WatchLimits& limits, const std::vector<SocketAddress>& sites,
                    std::vector<std::string>* wrong) const;
  bool WaitsForRate(engine::Shard* shard) const;
  void LookAtDestinations(std::vector<std::string>* wrong);
  void LookAtCounts(std::vector<std::string>* wrong) const;
  void LookAtParked(std::vector<std::string>* wrong);

  SimHost* const host_;
  MonoTime next_look_;  // At what costs more.
  struct Idle {
    MonoTime since;
    size_t ready = 0;  // Fewer: it goes on, slowly.
  };
  std::map<std::pair<int, std::string>, Idle> idle_;  // By shard and nexthop.
  std::map<int, MonoTime> overdue_;                   // By shard: since when its next wake is over.
  MonoTime next_look_at_parked_;
  absl::Duration clock_offset_;  // Of the wall clock, at the last look.
  MonoTime clock_was_set_;
  std::map<std::pair<QueueId, std::string>, MonoTime> waiting_;  // Parked jobs: since when.
};

}  // namespace mailrace::sim
