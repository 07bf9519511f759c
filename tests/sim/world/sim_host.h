// A host that runs the engine's shards, from its start to its end or its crash: all in
// one thread, time and everything else from outside given. The store is its disk and
// outlives it, so that the next host can start where this one stopped.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/random.h"
#include "engine/flight_journal.h"
#include "engine/shard.h"
#include "queue/memory_store.h"
#include "tests/sim/world/flight_list.h"
#include "tests/sim/world/sim_committer.h"
#include "tests/sim/world/sim_intake.h"
#include "tests/sim/world/sim_network.h"
#include "tests/sim/world/sim_relay.h"
#include "tests/sim/world/sim_services.h"

namespace mailrace::sim {

// Settings that tests begin with: PlainPolicy, one relay "[relay.test]:25".
engine::Settings TestSettings();

// The address that "relay.test" has.
SocketAddress RelayAddress();

class SimHost {
 public:
  struct Parts {
    queue::MemoryStore* store = nullptr;
    Random* random = nullptr;
    Logger* logger = nullptr;
    RelayBook* book = nullptr;
    std::shared_ptr<const engine::Settings> settings;
    absl::Time start = absl::FromUnixSeconds(1'800'000'000);
    // Where the monotonic clock begins: a world's goes on over its hosts.
    absl::Duration elapsed = absl::ZeroDuration();
    int shards = 1;
    bool intake = false;  // With listener and submission servers.
  };
  // Parts are borrowed. Relays listen where names lead; nothing is recovered yet.
  explicit SimHost(Parts parts);
  // Stops the engine in order, unless it crashed.
  ~SimHost();

  // Takes over what the store holds, as the engine does at its start. `found` may look.
  absl::Status Recover(const std::function<void(const queue::RecoveredMessage&)>& found = nullptr);

  // Lets `time` pass.
  void RunFor(absl::Duration time);
  // Lets time pass until `done`, at most `limit`. False if it was not done by then.
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit);
  // Called whenever something may have happened.
  void OnStep(std::function<void()> step) { on_step_ = std::move(step); }
  // What is ready happens; no time passes.
  void RunReady();
  // Runs `task` to its end (time passes).
  void Run(Task<void> task);

  // Stops in order, as at SIGTERM: nothing new begins, what was sent may end within
  // `grace`. What then goes on is cut off. Call once, instead of Crash().
  void Stop(absl::Duration grace);
  // The power goes: what was on its way to disk or wire may or may not have got there.
  // The old shards' frames run to their ends and can do no harm any more. The store's own
  // Crash() is the caller's.
  void Crash();
  bool crashed() const { return crashed_; }
  // The engine said that it cannot go on.
  bool fatal() const { return fatal_; }

  // A small message, through the Acceptor; its id, or why it was not taken.
  absl::StatusOr<QueueId> Submit(queue::Envelope envelope, std::string content, int shard = 0);

  queue::MemoryStore& store() { return *parts_.store; }
  SimClock& clock() { return clock_; }
  Loop& loop() { return loop_; }
  SimNetwork& network() { return network_; }
  SimCommitter& committer() { return committer_; }
  SimReader& reader() { return reader_; }
  SimResolver& resolver() { return resolver_; }
  SimRelay& relay() { return relay_; }
  TaskScope& tasks() { return tasks_; }
  engine::Shard& shard(int i = 0) { return *shards_[static_cast<size_t>(i)]; }
  int shards() const { return static_cast<int>(shards_.size()); }
  queue::Scheduler::Counts counts();
  // What a crash now would leave of what is in flight, or has left.
  FlightList flights() const;

 private:
  void End();

  const Parts parts_;
  SimClock clock_;
  Loop loop_;
  SimNetwork network_;
  SimSink sink_;  // Before the committer, which gives back in the end.
  SimCommitter committer_;
  SimReader reader_;
  SimResolver resolver_;
  engine::CredentialPauses pauses_;
  SimRelay relay_;
  TaskScope tasks_;
  // The memory that outlives a process; one journal a shard.
  std::vector<std::string> flight_regions_;
  std::vector<std::unique_ptr<engine::FlightJournal>> journals_;
  FlightList flights_at_crash_;
  std::vector<std::unique_ptr<engine::Shard>> shards_;
  std::unique_ptr<SimIntake> intake_;
  std::function<void()> on_step_;
  bool stopped_ = false;
  bool crashed_ = false;
  bool fatal_ = false;
};

}  // namespace mailrace::sim
