// A network without sockets: connections between two ends on one Loop, with latency,
// splits and cuts drawn from a seed (invariant I7). Everything that TCP allows to happen
// to octets happens here: late, in pieces, cut at any octet, swallowed for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/loop.h"
#include "base/random.h"
#include "base/sync.h"
#include "transport/connection.h"

namespace mailrace::sim {

// How bad the network is. All zero: instant and perfect.
struct NetworkFaults {
  absl::Duration latency_max;     // Of one segment; uniform.
  size_t segment_octets_max = 0;  // Writes travel in pieces of at most this; 0: whole.
  int cut_percent = 0;            // Connections that die at a random octet.
  size_t cut_octets_max = 4000;   // Where, counted from the beginning of one direction.
  // If not 0: at one of so many writes instead, somewhere within it. For TLS, whose records
  // have another length each time.
  size_t cut_writes_max = 0;
  int silent_percent = 0;           // Of those that die: without telling (a dead NAT).
  int connect_refused_percent = 0;  // Connects that fail at once.
  int connect_lost_percent = 0;     // Connects that nobody answers.
};

class SimConnection;

// Both ends of a connection hold one of these.
struct SimLink;

class SimNetwork final : public transport::Network {
 public:
  // Borrowed; outlive the network and its connections.
  SimNetwork(Loop* loop, Random* random);
  ~SimNetwork() override;

  Task<absl::StatusOr<std::unique_ptr<transport::Connection>>> Connect(
      SocketAddress remote, std::optional<IpAddress> local, MonoTime deadline) override;
  absl::StatusOr<std::unique_ptr<transport::Listener>> Listen(SocketAddress address) override;
  void CancelConnects() override { connects_.NotifyAll(); }
  std::unique_ptr<transport::Connection> Adopt(transport::AcceptedPeer peer) override;
  void Discard(transport::AcceptedPeer peer) override;

  // Counts for connections made from now on.
  void set_faults(const NetworkFaults& faults) { faults_ = faults; }
  // Connects to it are refused (the host is down), or accepted again.
  void SetRefused(SocketAddress address, bool refused);

  // Connects to it are never answered (a dead route), or again.
  void SetSilent(SocketAddress address, bool silent);
  // Connections to it that their maker has not closed.
  size_t open_to(SocketAddress address) const;

  // One end of the network is gone: all connections are cut now. Of the octets under way
  // some beginning still arrives, as much as the seed says.
  void CutAll();

  uint64_t connects() const { return connects_made_; }

 private:
  friend class SimConnection;
  class SimListener;

  Loop* const loop_;
  Random* const random_;
  NetworkFaults faults_;
  Event connects_;
  std::map<SocketAddress, SimListener*> listeners_;
  std::set<SocketAddress> refused_;
  std::set<SocketAddress> silent_;
  std::map<SocketAddress, size_t> open_;
  std::map<int, std::unique_ptr<SimConnection>> accepted_;
  std::vector<std::weak_ptr<SimLink>> links_;
  int next_handle_ = 1;
  uint16_t next_port_ = 40000;
  uint64_t connects_made_ = 0;
};

}  // namespace mailrace::sim
