// The whole engine of one process: store, commit thread, shards, listeners, the
// administrator's socket. Assembles; decides nothing about mail.
//
// All methods are for the main thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "engine/admin/control_handler.h"
#include "engine/admin/control_server.h"
#include "engine/admin/suspensions.h"
#include "engine/config/options.h"
#include "engine/entropy/entropy_service.h"
#include "engine/flight_file.h"
#include "engine/free_space.h"
#include "engine/intake/submission_server.h"
#include "engine/logs/async_logger.h"
#include "engine/settings.h"
#include "engine/shard_helper.h"
#include "engine/shard_thread.h"
#include "engine/start_report.h"
#include "queue/group_commit.h"
#include "queue/store.h"

namespace mailrace::engine {

struct EngineStart {
  config::Options options;
  std::shared_ptr<const Settings> settings;
  bool accept_loss = false;  // --accept-loss: open a damaged queue (invariant I4).
  Logger* logger = nullptr;  // Borrowed.
  // Asked now and then while a long queue is read; true: Start ends with Cancelled.
  std::function<bool()> stop_requested;
  // Counts of the log, for stats.
  std::function<logs::AsyncLogger::Stats()> log_stats;
};

class Engine {
 public:
  // Opens everything; when it returns, mail is accepted and delivered. On error nothing
  // is left running: a broken configuration never starts half-way.
  static absl::StatusOr<std::unique_ptr<Engine>> Start(EngineStart start);
  ~Engine();

  // "listening on 127.0.0.1:2525, 2 shards, 0 messages in the queue".
  std::string Describe() const;

  // About once a second: free space.
  void Tick();
  // New sessions, messages and deliveries go by `settings`.
  void Reload(std::shared_ptr<const Settings> settings);
  // Refuses new mail, finishes what is under way within `grace`, makes it durable.
  void BeginStop(absl::Duration grace);
  void StopNow();
  // True once all shards have ended.
  bool stopped() const;

 private:
  explicit Engine(EngineStart start);
  absl::Status OpenQueue();
  absl::Status OpenFlights();
  absl::Status StartShards();
  absl::Status RestoreSuspensions();
  absl::Status RecoverMessages();
  absl::Status Listen();
  void Fatal(const absl::Status& status);

  EngineStart start_;
  SystemClock clock_;
  SystemRandom random_;
  Counter free_octets_;  // On the queue's file system, as of the last Tick().
  FreeSpaceLog free_space_log_;
  CredentialPauses credential_pauses_;
  ClientCounts clients_;
  std::shared_ptr<transport::dns::DnsService> dns_;
  std::unique_ptr<entropy::EntropyService> entropy_;
  std::unique_ptr<queue::Store> store_;
  std::unique_ptr<queue::GroupCommit> committer_;
  std::unique_ptr<StoreReadThread> store_reader_;
  std::vector<std::unique_ptr<FlightFile>> flights_;  // One a shard.
  std::vector<std::unique_ptr<ShardThread>> shards_;
  // Behind the shards: what they post, they post to shards that are still there.
  std::unique_ptr<tokens::TokenStore> token_store_;
  std::unique_ptr<HelperThreads> key_helper_;
  std::unique_ptr<HelperThreads> token_helper_;
  StartReport report_;
  std::vector<Suspension> suspensions_;  // As of the start.
  std::vector<SocketAddress> addresses_;
};

}  // namespace mailrace::engine
