// One thread of a sink: a ring, and the sessions on it.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "base/random.h"
#include "base/sync.h"
#include "tools/sink/session.h"
#include "transport/uring/uring_shard.h"

namespace mailrace::sink {

class Worker {
 public:
  // What all workers of a sink share. Pointers are borrowed.
  struct Parts {
    const Clock* clock = nullptr;
    const SinkOptions* options = nullptr;
    const FaultPlan* faults = nullptr;
    Recorder* recorder = nullptr;
    std::shared_ptr<const transport::tls::Context> tls;
    std::function<void()> on_full;  // Any worker's thread, more than once.
  };
  Worker(int index, const Parts& parts);
  // REQUIRES: Join() if Start() succeeded.
  ~Worker() = default;

  // Starts the thread; returns once its ring works or does not.
  absl::Status Start();

  // --- Any thread. ---
  void Serve(transport::AcceptedPeer peer, uint64_t session);
  // Opens the listener on this worker: `on_peer` runs there for each one.
  absl::StatusOr<SocketAddress> Listen(std::function<void(transport::AcceptedPeer)> on_peer);
  // No more peers; `then` runs on the worker when the last one was handed over.
  void StopListening(std::function<void()> then);
  // Sessions end as soon as they have said what they have to say, at the latest in a
  // second; then the thread does.
  void Stop();
  void Join();
  const SinkCounters& counters() const { return counters_; }

 private:
  // The grace of Stop().
  static constexpr absl::Duration kGrace = absl::Seconds(1);

  void Run(std::promise<absl::Status> opened);
  void Post(std::function<void()> call);
  void Drain();
  void BeginStop();
  Task<void> AcceptPeers();
  Task<void> RunSession(std::unique_ptr<Session> session);

  const int index_;
  const Parts parts_;
  SinkCounters counters_;
  std::thread thread_;

  std::mutex mutex_;
  std::vector<std::function<void()>> calls_;       // Guarded by mutex_.
  transport::uring::UringShard* awake_ = nullptr;  // Guarded by mutex_.

  // Of the thread, while it runs.
  transport::uring::UringShard* shard_ = nullptr;
  TaskScope* scope_ = nullptr;
  SessionContext context_;
  std::optional<SeededRandom> random_;
  absl::flat_hash_set<Session*> sessions_;
  std::unique_ptr<transport::Listener> listener_;
  std::function<void(transport::AcceptedPeer)> on_peer_;
  bool accepting_ = false;
  std::function<void()> when_not_listening_;
  std::unique_ptr<CallbackTimer> cut_off_;
};

}  // namespace mailrace::sink
