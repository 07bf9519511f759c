// A life of the engine under a seed: applications that submit, relays that misbehave, a
// network and a disk that fail, crashes and restarts; then peace, until every message
// has ended. The ledger says whether the promises were kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/sim/world/ledger.h"
#include "tests/sim/world/sim_host.h"

namespace mailrace::sim {

struct WorldOptions {
  uint64_t seed = 1;
  // The mutation: commits are acknowledged without a sync.
  bool sync_is_ignored = false;
  bool crashes = true;
};

class SimWorld {
 public:
  explicit SimWorld(WorldOptions options);
  ~SimWorld();

  // The whole life. Every breach of the promises, in words; empty: all were kept.
  std::vector<std::string> Run();

  // What the seed brought about, for tests that want to know that it was worth it.
  struct Facts {
    size_t acknowledged = 0;
    size_t delivered = 0;
    size_t notices = 0;
    uint64_t uncertain = 0;
    size_t crashes = 0;
    size_t sync_failures = 0;
    size_t full_disks = 0;
    size_t refused_at_intake = 0;
  };
  const Facts& facts() const { return facts_; }
  const std::vector<std::string>& log() const { return ledger_.lines(); }

 private:
  bool Chance(int percent) { return static_cast<int>(random_.Below(100)) < percent; }
  absl::Duration UpTo(absl::Duration most);
  void DrawCharacter();
  void StartHost();
  void BeginSubmissions(size_t messages);
  Task<void> Submit(SimHost* host, int shard, std::string tag, absl::Duration wait);
  queue::Envelope MakeEnvelope(const std::string& tag);
  std::string MakeContent(const std::string& tag);
  std::optional<RelayAct> Misbehave(RelayStep step, std::string_view argument);
  void Disturb();
  void CrashHost();
  void MakePeace();
  bool RunUntilEmpty();
  std::vector<queue::RecoveredMessage> OnDisk();

  const WorldOptions options_;
  SeededRandom random_;
  queue::MemoryStore store_;
  Ledger ledger_;
  RelayBook book_;
  Facts facts_;
  std::unique_ptr<SimHost> host_;
  std::shared_ptr<engine::Settings> settings_;
  NetworkFaults network_faults_;
  int shards_ = 1;
  int relay_fault_percent_ = 0;
  int read_failure_percent_ = 0;
  int name_failure_percent_ = 0;
  absl::Duration commit_delay_;
  absl::Time now_;  // Of the host, when it has none.
  bool peace_ = false;
  bool disk_was_full_ = false;  // Outcomes may have waited for long.
  int tags_ = 0;
};

}  // namespace mailrace::sim
