// One shard on its own thread, ring and network: the real one (a simulation drives a
// Shard by itself).
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/random.h"
#include "engine/intake/submission_server.h"
#include "engine/shard.h"
#include "engine/shard_credentials.h"
#include "engine/shard_helper.h"
#include "engine/shard_inbox.h"
#include "engine/shard_store_reader.h"
#include "queue/group_commit.h"
#include "transport/dns/dns_service.h"
#include "transport/dns/unbound_resolver.h"
#include "transport/uring/uring_shard.h"

namespace mailrace::engine {

// What all shards of one engine share. Borrowed; outlives the threads.
struct ShardThreadParts {
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Logger* logger = nullptr;
  queue::Committer* committer = nullptr;
  StoreReadThread* store_reader = nullptr;
  std::shared_ptr<transport::dns::DnsService> dns;
  CredentialPauses* credential_pauses = nullptr;
  ClientCounts* clients = nullptr;
  HelperThreads* key_helper = nullptr;
  HelperThreads* token_helper = nullptr;
  tokens::TokenStore* token_store = nullptr;  // Touched by token_helper's work only.
  std::vector<FlightJournal*> flights;        // One a shard.
  std::shared_ptr<const Settings> settings;
  std::function<void(absl::Status)> fatal;
  std::function<uint64_t()> free_octets;
  std::function<absl::Status()> ready_for_tls;
  int shards = 1;
  uint64_t highest_id = 0;
};

// What lives on the shard's thread. Only that thread touches it.
struct ShardRuntime {
  transport::uring::UringShard* ring = nullptr;
  Shard* shard = nullptr;
  SubmissionServer* submissions = nullptr;
  IntakeStats* intake_stats = nullptr;
  const SubmissionContext* submission_context = nullptr;
};

class ShardThread {
 public:
  ShardThread(int index, ShardThreadParts parts);
  // REQUIRES: stopped, or never started.
  ~ShardThread();

  // Starts the thread; returns when its ring is open, or why it is not.
  absl::Status Start();

  // Any thread: `call` runs on the shard.
  void Post(std::function<void(ShardRuntime*)> call);
  ShardPost* post() { return &inbox_; }
  // The same, and waits for it. Not on a shard.
  void PostAndWait(std::function<void(ShardRuntime*)> call);

  // Any thread. Clients hear 421, sessions with relays finish what they sent; after
  // `grace` they are cut off. The thread ends by itself then; Join waits for it.
  void BeginStop(absl::Duration grace);
  // What the shard does first when it stops. On the shard, before BeginStop.
  void set_before_stop(std::function<Task<void>()> hook) { before_stop_ = std::move(hook); }
  // Cuts off now (a second signal).
  void StopNow();
  void Join();
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

 private:
  class Sink;
  void SetRing(transport::uring::UringShard* ring);
  void Run(std::promise<absl::Status> opened);
  Task<void> StopTask(ShardRuntime* runtime, absl::Duration grace);

  const int index_;
  const ShardThreadParts parts_;
  // For the inbox's wake-up; other threads may post until the very end.
  std::mutex ring_mutex_;
  transport::uring::UringShard* ring_ = nullptr;  // Guarded by ring_mutex_.
  ShardInbox inbox_;
  ShardRuntime runtime_;  // Set before Start() returns, then the thread's.
  std::function<Task<void>()> before_stop_;
  std::atomic<bool> stopped_{false};  // Written by the thread.
  bool stopping_ = false;             // The thread's.
  std::unique_ptr<TaskScope> stop_scope_;
  std::thread thread_;
};

}  // namespace mailrace::engine
