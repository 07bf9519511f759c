// A life of the engine under a seed: applications that submit, by SMTP or at the
// acceptor; relays that misbehave; a network, a disk and a clock that fail; operators;
// crashes, orderly stops and restarts; then peace, until every message has ended. Ledger
// and watch say at every step whether the promises are kept.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "tests/sim/world/ledger.h"
#include "tests/sim/world/sim_application.h"
#include "tests/sim/world/sim_host.h"
#include "tests/sim/world/watch.h"

namespace mailrace::sim {

// Lies that an oracle must catch, told by the fakes: the engine itself has none.
enum class Mutation {
  kNone,
  kSyncIgnored,            // Commits are acknowledged without a sync.
  kRemovedBeforeAccepted,  // A message goes while it is still being sent.
  kSuccessOnGarbage,       // A relay that took nothing is understood as if it had.
  kOutcomesForgotten,      // Who was delivered is not recorded.
  kNoticeLost,             // The failure is recorded, the notice about it is not.
  kJobStuck,               // A message that is read back never comes.
};

struct WorldOptions {
  uint64_t seed = 1;
  Mutation mutation = Mutation::kNone;
  bool keeps_log = true;
};

// What seeds brought about, for those who want to know that it was worth it.
struct WorldFacts {
  size_t messages = 0;    // Acknowledged.
  size_t recipients = 0;  // Of them.
  size_t refused = 0;     // Not acknowledged.
  size_t deliveries = 0;
  size_t notices = 0;
  size_t crashes = 0;
  size_t stops = 0;
  size_t sync_failures = 0;
  size_t full_disks = 0;
  size_t clock_jumps = 0;
  size_t reloads = 0;
  size_t removed = 0;  // By the operator.
  size_t smuggled = 0;
  size_t handshakes = 0;   // TLS, begun by relays.
  size_t chunks = 0;       // BDAT commands.
  size_t uncertain = 0;    // Logged as perhaps delivered twice.
  size_t duplicates = 0;   // Deliveries beyond the first.
  size_t crash_bound = 0;  // K: what the engine knew at its crashes.
  size_t crash_owed = 0;   // What the crashes may repeat.
  size_t parkings = 0;     // Jobs that memory had no room for.
  size_t lost = 0;

  void Add(const WorldFacts& other);
};

class SimWorld {
 public:
  explicit SimWorld(WorldOptions options);
  ~SimWorld();

  // The whole life. Every breach of the promises, in words; empty: all were kept.
  std::vector<std::string> Run();

  const WorldFacts& facts() const { return facts_; }
  const std::vector<std::string>& log() const { return ledger_.lines(); }

 private:
  // A relay's habits, which last as long as the world.
  enum class Nature { kUsual, kGreylisting, kForgetful, kSlow, kCrowded, kDead };
  struct Site {
    SocketAddress address;
    Nature nature = Nature::kUsual;
    MonoTime dead_until;
    bool silent = false;  // Dead without a word.
  };

  bool Chance(int percent) { return static_cast<int>(random_.Below(100)) < percent; }
  absl::Duration UpTo(absl::Duration most);
  MonoTime now() const;

  // --- The world (sim_world.cc). ---
  void StartHost();
  void EndHost();
  void CountParkings();
  void CrashHost();
  void StopHost();
  void MakePeace();
  bool RunUntilEmpty();
  void ReleaseHeld();
  void Live(int lives, int life);
  void Conclude(bool ended);
  void TellTime();  // To the ledger.
  void Step();

  // --- Applications (world_traffic.cc). ---
  void BeginSubmissions(size_t messages);
  Submission MakeSubmission();
  std::string MakeContent(const std::string& tag);
  Task<void> SubmitBySmtp(SimHost* host, std::vector<Submission> messages, absl::Duration wait);
  Task<void> SubmitToShard(SimHost* host, int shard, Submission message, absl::Duration wait);
  void Offer(const Submission& message, bool traced);

  // --- Trouble (world_trouble.cc). ---
  void DrawCharacter();
  void DrawNatures();
  void ApplyDeaths();
  std::optional<RelayAct> Misbehave(const SocketAddress& site, RelayStep step,
                                    std::string_view argument);
  std::optional<RelayAct> ByNature(const Site& site, RelayStep step, std::string_view argument);
  void Disturb();
  void DisturbDisk();
  void JumpClock();
  void Reload();
  void Operate();
  std::vector<QueueId> QueuedIds();
  void OperateOn(QueueId id, engine::Operation::Kind kind);
  void TamperAsMutated();

  const WorldOptions options_;
  SeededRandom random_;
  queue::MemoryStore store_;
  RelayBook book_;
  std::shared_ptr<engine::Settings> settings_;
  Ledger ledger_;
  WorldFacts facts_;
  std::vector<std::string> wrong_;
  std::unique_ptr<SimApplication> application_;  // Its tasks run until the host's end.
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<SimHost> host_;
  WatchLimits limits_;
  size_t recipient_limit_most_ = 0;
  std::vector<Site> sites_;
  std::vector<SocketAddress> addresses_;
  std::map<std::string, MonoTime> greylist_;  // Recipients: when they were first seen.
  NetworkFaults network_faults_;
  int shards_ = 1;
  bool by_smtp_ = false;
  bool with_tls_ = false;
  bool with_chunking_ = false;
  int relay_fault_percent_ = 0;
  int read_failure_percent_ = 0;
  int name_failure_percent_ = 0;
  absl::Duration commit_delay_;
  absl::Duration elapsed_;      // Of true time, when there is no host.
  absl::Time wall_;             // What the clock says then.
  absl::Duration small_jumps_;  // Of the clock, since the last start.
  MonoTime steady_since_;       // When clock and disk were last meddled with.
  bool peace_ = false;
  bool stopping_ = false;
  bool disk_was_full_ = false;  // Outcomes may have waited for long.
  int tags_ = 0;
};

}  // namespace mailrace::sim
