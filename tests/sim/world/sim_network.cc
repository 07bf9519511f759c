#include "tests/sim/world/sim_network.h"

#include <algorithm>
#include <utility>

#include "tests/transport/fakes/fake_connection.h"

namespace mailrace::sim {

using transport::AcceptedPeer;

namespace {

absl::Status Reset() { return absl::UnavailableError("Connection reset by peer"); }

}  // namespace

// One direction of a connection.
struct Pipe {
  struct Segment {
    MonoTime at;
    std::string octets;
  };
  std::deque<Segment> under_way;
  size_t under_way_octets = 0;
  std::string arrived;
  bool writer_closed = false;
  bool reader_closed = false;
  uint64_t written = 0;
  uint64_t cut_at = UINT64_MAX;  // The octet at which the connection dies.
  uint64_t writes = 0;
  uint64_t cut_at_write = UINT64_MAX;  // Or the write, and the share of it that passes.
  uint64_t cut_share = 0;              // Per 1024.
  MonoTime last;                       // Segments arrive in order.
  SimConnection* reader = nullptr;
  SimConnection* writer = nullptr;
};

struct SimLink {
  Pipe pipes[2];  // [0]: what the connecting end writes.
  bool cut = false;
  bool silent = false;  // Cut, and nobody is told.
};

// A writer waits while this much of it is unread.
constexpr size_t kWindowOctets = size_t{64} * 1024;

class SimConnection final : public transport::fakes::FakeConnection {
 public:
  SimConnection(SimNetwork* network, std::shared_ptr<SimLink> link, int side, SocketAddress local,
                SocketAddress remote)
      : FakeConnection(network->loop_, local, remote),
        network_(network),
        link_(std::move(link)),
        side_(side),
        in_(&link_->pipes[1 - side]),
        out_(&link_->pipes[side]),
        arrival_([this] { Progress(); }) {
    in_->reader = this;
    out_->writer = this;
    if (side_ == 0) ++network_->open_[this->remote()];
  }
  ~SimConnection() override {
    if (side_ == 0) --network_->open_[this->remote()];
    in_->reader = nullptr;
    in_->reader_closed = true;
    out_->writer = nullptr;
    out_->writer_closed = true;
    if (out_->reader != nullptr) out_->reader->Progress();
    if (in_->writer != nullptr) in_->writer->Progress();
  }

 private:
  void Begin(std::string_view octets) override {
    if (link_->cut || out_->reader_closed) return;
    if (++out_->writes == out_->cut_at_write) {
      out_->cut_at = out_->written + octets.size() * out_->cut_share / 1024;
    }
    const uint64_t room = out_->cut_at - out_->written;
    const bool cut = octets.size() >= room;
    octets = octets.substr(0, std::min<uint64_t>(octets.size(), room));
    out_->written += octets.size();
    const NetworkFaults& faults = network_->faults_;
    while (!octets.empty()) {
      size_t n = octets.size();
      if (faults.segment_octets_max > 0) {
        n = std::min<size_t>(n, 1 + network_->random_->Below(faults.segment_octets_max));
      }
      absl::Duration delay;
      if (faults.latency_max > absl::ZeroDuration()) {
        delay = absl::Microseconds(static_cast<int64_t>(network_->random_->Below(
            static_cast<uint64_t>(absl::ToInt64Microseconds(faults.latency_max)) + 1)));
      }
      out_->last = std::max(out_->last, loop()->now() + delay);
      out_->under_way.push_back({out_->last, std::string(octets.substr(0, n))});
      out_->under_way_octets += n;
      octets.remove_prefix(n);
    }
    if (cut) link_->cut = true;
    if (out_->reader != nullptr) out_->reader->Progress();
  }

  void Arrive() {
    while (!in_->under_way.empty() && in_->under_way.front().at <= loop()->now()) {
      in_->arrived += in_->under_way.front().octets;
      in_->under_way_octets -= in_->under_way.front().octets.size();
      in_->under_way.pop_front();
    }
    if (!in_->under_way.empty()) loop()->timers().Arm(&arrival_, in_->under_way.front().at);
  }

  void ProgressRead() override {
    Arrive();
    if (read() == nullptr) return;
    if (!in_->arrived.empty()) {
      read()->into->Append(in_->arrived);
      read()->octets = in_->arrived.size();
      in_->arrived.clear();
      FinishRead(absl::OkStatus());
      if (in_->writer != nullptr) in_->writer->ProgressWrite();
      return;
    }
    if (!in_->under_way.empty()) return;
    if (link_->cut && !link_->silent) return FinishRead(Reset());
    if (link_->cut) return;
    if (in_->writer_closed) FinishRead(absl::OkStatus());
  }

  void ProgressWrite() override {
    if (write() == nullptr) return;
    if (link_->cut && !link_->silent) return FinishWrite(Reset());
    if (!link_->cut && out_->reader_closed) {
      return FinishWrite(absl::UnavailableError("Broken pipe"));
    }
    if (out_->under_way_octets + out_->arrived.size() > kWindowOctets) return;
    write()->octets = write()->from.size();
    FinishWrite(absl::OkStatus());
  }

  SimNetwork* const network_;
  const std::shared_ptr<SimLink> link_;
  const int side_;
  Pipe* const in_;
  Pipe* const out_;
  CallbackTimer arrival_;
};

class SimNetwork::SimListener final : public transport::Listener {
 public:
  SimListener(SimNetwork* network, SocketAddress address)
      : network_(network), address_(address), came_(network->loop_) {
    network_->listeners_[address_] = this;
  }
  ~SimListener() override { network_->listeners_.erase(address_); }

  Task<absl::StatusOr<AcceptedPeer>> Accept() override {
    while (waiting_.empty() && !cancelled_) co_await came_.Wait();
    if (cancelled_) co_return absl::CancelledError("cancelled");
    const AcceptedPeer peer = waiting_.front();
    waiting_.pop_front();
    co_return peer;
  }
  void Cancel() override {
    cancelled_ = true;
    came_.NotifyAll();
  }
  SocketAddress local() const override { return address_; }

  void Came(AcceptedPeer peer) {
    waiting_.push_back(peer);
    came_.NotifyAll();
  }

 private:
  SimNetwork* const network_;
  const SocketAddress address_;
  Event came_;
  std::deque<AcceptedPeer> waiting_;
  bool cancelled_ = false;
};

SimNetwork::SimNetwork(Loop* loop, Random* random)
    : loop_(loop), random_(random), connects_(loop) {}

SimNetwork::~SimNetwork() = default;

void SimNetwork::SetRefused(SocketAddress address, bool refused) {
  if (refused) {
    refused_.insert(address);
  } else {
    refused_.erase(address);
  }
}

void SimNetwork::SetSilent(SocketAddress address, bool silent) {
  if (silent) {
    silent_.insert(address);
  } else {
    silent_.erase(address);
  }
}

size_t SimNetwork::open_to(SocketAddress address) const {
  const auto it = open_.find(address);
  return it == open_.end() ? 0 : it->second;
}

Task<absl::StatusOr<std::unique_ptr<transport::Connection>>> SimNetwork::Connect(
    SocketAddress remote, std::optional<IpAddress> local, MonoTime deadline) {
  const NetworkFaults faults = faults_;
  const bool lost = static_cast<int>(random_->Below(100)) < faults.connect_lost_percent ||
                    silent_.contains(remote);
  MonoTime established = loop_->now() + absl::Milliseconds(1);
  if (faults.latency_max > absl::ZeroDuration()) established = established + faults.latency_max;
  const bool cancelled = co_await connects_.Wait(lost ? deadline : std::min(deadline, established));
  if (cancelled) co_return absl::CancelledError("cancelled");
  if (lost || loop_->now() >= deadline) co_return absl::DeadlineExceededError("timed out");
  ++connects_made_;
  const auto listener = listeners_.find(remote);
  const bool refused = static_cast<int>(random_->Below(100)) < faults.connect_refused_percent;
  if (listener == listeners_.end() || refused_.contains(remote) || refused) {
    co_return absl::UnavailableError("Connection refused");
  }
  auto link = std::make_shared<SimLink>();
  if (static_cast<int>(random_->Below(100)) < faults.cut_percent) {
    Pipe& cut = link->pipes[random_->Below(2)];
    if (faults.cut_writes_max > 0) {
      cut.cut_at_write = random_->Below(faults.cut_writes_max) + 1;
      cut.cut_share = random_->Below(1024);
    } else {
      cut.cut_at = random_->Below(faults.cut_octets_max) + 1;
    }
    link->silent = static_cast<int>(random_->Below(100)) < faults.silent_percent;
  }
  std::erase_if(links_, [](const std::weak_ptr<SimLink>& old) { return old.expired(); });
  links_.push_back(link);
  const SocketAddress from{local.value_or(*IpAddress::Parse("127.0.0.1")), next_port_++};
  const int handle = next_handle_++;
  accepted_[handle] = std::make_unique<SimConnection>(this, link, 1, remote, from);
  listener->second->Came({handle, remote, from});
  co_return std::unique_ptr<transport::Connection>(
      std::make_unique<SimConnection>(this, link, 0, from, remote));
}

absl::StatusOr<std::unique_ptr<transport::Listener>> SimNetwork::Listen(SocketAddress address) {
  if (listeners_.contains(address)) return absl::UnavailableError("Address already in use");
  return std::unique_ptr<transport::Listener>(std::make_unique<SimListener>(this, address));
}

std::unique_ptr<transport::Connection> SimNetwork::Adopt(AcceptedPeer peer) {
  const auto it = accepted_.find(peer.handle);
  std::unique_ptr<transport::Connection> connection = std::move(it->second);
  accepted_.erase(it);
  return connection;
}

void SimNetwork::Discard(AcceptedPeer peer) { accepted_.erase(peer.handle); }

void SimNetwork::CutAll() {
  for (const std::weak_ptr<SimLink>& weak : links_) {
    const std::shared_ptr<SimLink> link = weak.lock();
    if (link == nullptr) continue;
    link->cut = true;
    link->silent = false;
    for (Pipe& pipe : link->pipes) {
      // The beginning of what was under way had left the host already.
      for (size_t keep = random_->Below(pipe.under_way.size() + 1); keep > 0; --keep) {
        pipe.arrived += pipe.under_way.front().octets;
        pipe.under_way.pop_front();
      }
      pipe.under_way.clear();
      pipe.under_way_octets = 0;
    }
    for (Pipe& pipe : link->pipes) {
      if (pipe.reader != nullptr) pipe.reader->Progress();
      if (pipe.writer != nullptr) pipe.writer->Progress();
    }
  }
}

}  // namespace mailrace::sim
