// Two connected in-memory connections on one Loop: what sessions are tested over when
// no socket is wanted. Split sizes, capacity, end of stream and failures are scripted.
//
//   SimClock clock;
//   Loop loop(&clock);
//   auto [client, server] = MakeMemoryPair(&loop);
//   client.wire->split_sizes = {1};          // the client receives one octet a read
//   Stream stream(std::move(client.connection));
//   ...
//   RunUntilQuiet(&loop, &clock);
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/loop.h"
#include "transport/connection.h"

namespace mailrace::transport::fakes {

// One direction of the pair, as its receiving end sees it. Both ends and the test hold
// it; it outlives the connections.
struct Wire {
  std::string octets;          // Written by the peer, not read yet.
  std::string all_octets;      // Everything ever written into it.
  size_t capacity = SIZE_MAX;  // A write waits while this much is unread.
  // The most that successive reads return; the list is gone through in a circle.
  // Empty: as much as there is.
  std::vector<size_t> split_sizes;
  size_t reads = 0;
  bool closed = false;       // The writer closed: read to the end, then 0.
  absl::Status failure;      // Not OK: reads and writes fail with it at once.
  bool reader_gone = false;  // Writes fail: "Broken pipe".
  class MemoryConnection* reader = nullptr;
  class MemoryConnection* writer = nullptr;
};

class MemoryConnection final : public Connection {
 public:
  MemoryConnection(Loop* loop, std::shared_ptr<Wire> in, std::shared_ptr<Wire> out,
                   SocketAddress local, SocketAddress remote)
      : loop_(loop),
        in_(std::move(in)),
        out_(std::move(out)),
        local_(local),
        remote_(remote),
        read_timer_([this] { Finish(&read_, absl::DeadlineExceededError("read timed out")); }),
        write_timer_([this] { Finish(&write_, absl::DeadlineExceededError("write timed out")); }) {
    in_->reader = this;
    out_->writer = this;
  }
  ~MemoryConnection() override {
    in_->reader = nullptr;
    in_->reader_gone = true;
    out_->writer = nullptr;
    out_->closed = true;
    if (out_->reader != nullptr) out_->reader->Progress();
    if (in_->writer != nullptr) in_->writer->Progress();
  }

  void Cancel() override {
    cancelled_ = true;
    if (read_ != nullptr) Finish(&read_, absl::CancelledError("cancelled"));
    if (write_ != nullptr) Finish(&write_, absl::CancelledError("cancelled"));
  }
  void CancelRead() override {
    if (read_ != nullptr) Finish(&read_, absl::CancelledError("cancelled"));
  }
  SocketAddress local() const override { return local_; }
  SocketAddress remote() const override { return remote_; }

  // Ends what can end. Call after changing a Wire by hand.
  void Progress() {
    ProgressRead();
    ProgressWrite();
  }

 protected:
  void StartRead(IoOperation* operation) override {
    read_ = operation;
    if (cancelled_) return Finish(&read_, absl::CancelledError("cancelled"));
    if (operation->deadline <= loop_->now()) {
      return Finish(&read_, absl::DeadlineExceededError("read timed out"));
    }
    loop_->timers().Arm(&read_timer_, operation->deadline);
    ProgressRead();
  }
  void StartWrite(IoOperation* operation) override {
    write_ = operation;
    if (cancelled_) return Finish(&write_, absl::CancelledError("cancelled"));
    if (operation->deadline <= loop_->now()) {
      return Finish(&write_, absl::DeadlineExceededError("write timed out"));
    }
    loop_->timers().Arm(&write_timer_, operation->deadline);
    ProgressWrite();
  }

 private:
  void ProgressRead() {
    if (read_ == nullptr) return;
    if (!in_->failure.ok()) return Finish(&read_, in_->failure);
    if (in_->octets.empty()) {
      if (in_->closed) Finish(&read_, absl::OkStatus());
      return;
    }
    size_t n = in_->octets.size();
    if (!in_->split_sizes.empty()) {
      n = std::min(n, std::max<size_t>(1, in_->split_sizes[in_->reads % in_->split_sizes.size()]));
    }
    ++in_->reads;
    read_->into->Append(std::string_view(in_->octets).substr(0, n));
    in_->octets.erase(0, n);
    read_->octets = n;
    Finish(&read_, absl::OkStatus());
    if (in_->writer != nullptr) in_->writer->ProgressWrite();
  }
  void ProgressWrite() {
    if (write_ == nullptr) return;
    if (!out_->failure.ok()) return Finish(&write_, out_->failure);
    if (out_->reader_gone) return Finish(&write_, absl::UnavailableError("Broken pipe"));
    const size_t room =
        out_->capacity > out_->octets.size() ? out_->capacity - out_->octets.size() : 0;
    const std::string_view part = write_->from.substr(write_->octets, room);
    out_->octets.append(part);
    out_->all_octets.append(part);
    write_->octets += part.size();
    if (write_->octets == write_->from.size()) Finish(&write_, absl::OkStatus());
    if (!part.empty() && out_->reader != nullptr) out_->reader->ProgressRead();
  }
  void Finish(IoOperation** slot, absl::Status status) {
    IoOperation* operation = std::exchange(*slot, nullptr);
    (slot == &read_ ? read_timer_ : write_timer_).Disarm();
    operation->status = std::move(status);
    loop_->Resume(operation->handle);
  }

  Loop* loop_;
  std::shared_ptr<Wire> in_;
  std::shared_ptr<Wire> out_;
  SocketAddress local_;
  SocketAddress remote_;
  CallbackTimer read_timer_;
  CallbackTimer write_timer_;
  IoOperation* read_ = nullptr;
  IoOperation* write_ = nullptr;
  bool cancelled_ = false;
};

struct MemoryEnd {
  std::unique_ptr<MemoryConnection> connection;
  std::shared_ptr<Wire> wire;  // What this end receives.
};

struct MemoryPair {
  MemoryEnd client;
  MemoryEnd server;
};

inline MemoryPair MakeMemoryPair(Loop* loop) {
  const SocketAddress client_address{*IpAddress::Parse("127.0.0.1"), 40000};
  const SocketAddress server_address{*IpAddress::Parse("127.0.0.1"), 25};
  MemoryPair pair;
  pair.client.wire = std::make_shared<Wire>();
  pair.server.wire = std::make_shared<Wire>();
  pair.client.connection = std::make_unique<MemoryConnection>(
      loop, pair.client.wire, pair.server.wire, client_address, server_address);
  pair.server.connection = std::make_unique<MemoryConnection>(
      loop, pair.server.wire, pair.client.wire, server_address, client_address);
  return pair;
}

// Runs what is ready, without letting time pass, until nothing is.
inline void RunUntilQuiet(Loop* loop) {
  while (loop->has_ready()) loop->RunReady();
}

// The same, and lets time pass up to each next deadline until none is armed or
// `limit` of simulated time went by.
inline void RunUntilQuiet(Loop* loop, SimClock* clock, absl::Duration limit = absl::Hours(24)) {
  const MonoTime end = clock->Mono() + limit;
  RunUntilQuiet(loop);
  while (!loop->NextWake().infinite() && loop->NextWake() <= end) {
    clock->AdvanceTo(loop->NextWake());
    loop->RunReady();
    RunUntilQuiet(loop);
  }
}

}  // namespace mailrace::transport::fakes
