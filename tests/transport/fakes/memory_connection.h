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
#include "tests/transport/fakes/fake_connection.h"
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

class MemoryConnection final : public FakeConnection {
 public:
  MemoryConnection(Loop* loop, std::shared_ptr<Wire> in, std::shared_ptr<Wire> out,
                   SocketAddress local, SocketAddress remote)
      : FakeConnection(loop, local, remote), in_(std::move(in)), out_(std::move(out)) {
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

 private:
  void ProgressRead() override {
    if (read() == nullptr) return;
    if (!in_->failure.ok()) return FinishRead(in_->failure);
    if (in_->octets.empty()) {
      if (in_->closed) FinishRead(absl::OkStatus());
      return;
    }
    size_t n = in_->octets.size();
    if (!in_->split_sizes.empty()) {
      n = std::min(n, std::max<size_t>(1, in_->split_sizes[in_->reads % in_->split_sizes.size()]));
    }
    ++in_->reads;
    read()->into->Append(std::string_view(in_->octets).substr(0, n));
    in_->octets.erase(0, n);
    read()->octets = n;
    FinishRead(absl::OkStatus());
    if (in_->writer != nullptr) in_->writer->ProgressWrite();
  }
  void ProgressWrite() override {
    if (write() == nullptr) return;
    if (!out_->failure.ok()) return FinishWrite(out_->failure);
    if (out_->reader_gone) return FinishWrite(absl::UnavailableError("Broken pipe"));
    const size_t room =
        out_->capacity > out_->octets.size() ? out_->capacity - out_->octets.size() : 0;
    const std::string_view part = write()->from.substr(write()->octets, room);
    out_->octets.append(part);
    out_->all_octets.append(part);
    write()->octets += part.size();
    if (write()->octets == write()->from.size()) FinishWrite(absl::OkStatus());
    if (!part.empty() && out_->reader != nullptr) out_->reader->ProgressRead();
  }

  const std::shared_ptr<Wire> in_;
  const std::shared_ptr<Wire> out_;
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
inline void RunUntilQuiet(Loop* loop) { loop->RunAllReady(); }

// The same, and lets time pass up to each next deadline until none is armed or
// `limit` of simulated time went by.
inline void RunUntilQuiet(Loop* loop, SimClock* clock, absl::Duration limit = absl::Hours(24)) {
  const MonoTime end = clock->Mono() + limit;
  RunUntilQuiet(loop);
  while (!loop->NextWake().infinite() && loop->NextWake() <= end) {
    clock->AdvanceTo(loop->NextWake());
    RunUntilQuiet(loop);
  }
}

}  // namespace mailrace::transport::fakes
