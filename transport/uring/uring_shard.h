// What one shard's thread runs on: a ring, a loop of coroutines driven by it, the
// network, and a bell for other threads. Idle costs no CPU time.
//
//   UringShard shard(&clock);                       // any thread
//   if (absl::Status s = shard.Open(); !s.ok()) …   // on the shard's own thread
//   scope.Spawn(Serve(&shard));
//   shard.Run([&] { return scope.running() == 0; });
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/loop.h"
#include "transport/uring/ring.h"
#include "transport/uring/socket.h"
#include "transport/uring/uring_network.h"
#include "transport/uring/waker.h"

namespace mailrace::transport::uring {

struct UringShardOptions {
  RingOptions ring;
  SocketOptions sockets;
};

class UringShard {
 public:
  // `clock` must be a SystemClock or follow it: the kernel sleeps in real time. Borrowed;
  // outlives the shard.
  explicit UringShard(const Clock* clock, const UringShardOptions& options = {});
  // REQUIRES: on the thread of Open(); all connections and listeners are gone.
  ~UringShard();
  UringShard(const UringShard&) = delete;
  UringShard& operator=(const UringShard&) = delete;

  // Once, on the thread that will run the shard, before anything else but the accessors
  // below, OnWake() and Wake(). The error is one line, fit for an operator.
  absl::Status Open();

  Loop& loop() { return loop_; }
  UringNetwork& network() { return network_; }
  const RingCounters& counters() const { return ring_.counters(); }
  // Operations in flight, of connections and listeners.
  size_t in_flight() const;

  // What runs on the shard after a Wake(). Set before Open().
  void OnWake(std::function<void()> callback) { on_wake_ = std::move(callback); }
  // Any thread.
  void Wake() { waker_.Wake(); }
  Waker& waker() { return waker_; }

  // Turns until `stop` says true; it is asked after each turn.
  void Run(const std::function<bool()>& stop);
  // One turn: submit and wait for something to happen, at most `max_wait` and not
  // beyond the next deadline; take all completions; fire timers and run what is ready.
  void RunOnce(absl::Duration max_wait = absl::InfiniteDuration());

 private:
  const Clock* clock_;
  const UringShardOptions options_;
  Loop loop_;
  Ring ring_;
  UringNetwork network_;
  std::function<void()> on_wake_;
  Waker waker_;
};

}  // namespace mailrace::transport::uring
