// One shard: the messages it accepted or was given at start, their scheduling, their
// delivery, their end. Owns everything on its core; runs on whatever loop it is given —
// a thread of its own in the engine, the simulator's in tests.
//
// Lives on one thread. Other threads reach it through its inbox.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/task.h"
#include "engine/delay_watch.h"
#include "engine/delivery/dead_addresses.h"
#include "engine/delivery/destination.h"
#include "engine/expiry_sweep.h"
#include "engine/intake/acceptor.h"
#include "engine/message_memory.h"
#include "engine/outcome_recorder.h"
#include "engine/parked_expiry.h"
#include "engine/parking.h"
#include "engine/queued_message.h"
#include "engine/shard_context.h"
#include "engine/shard_operations.h"
#include "engine/shard_stats.h"
#include "engine/tls_session_cache.h"
#include "queue/scheduler.h"

namespace mailrace::engine {

class Shard final : public Acceptor, private JobFeed {
 public:
  // `context` gives everything that comes from outside; the shard fills in its own
  // parts. `highest_id`: of the store at start.
  Shard(ShardContext context, uint64_t highest_id);
  ~Shard() override;

  // --- Acceptor. ---
  QueueId NewId() override;
  absl::Status Admit(uint64_t octets) override;
  Task<absl::Status> PutChunk(QueueId id, uint32_t chunk, queue::Octets content) override;
  Task<absl::Status> Accept(queue::Envelope envelope, queue::Octets last_chunk,
                            std::optional<MonoTime> begun) override;
  void Abandon(QueueId id, uint32_t chunks) override;

  // What a message that was there at start still owes a nexthop: into memory, or parked.
  // Nothing is tried from the first of these until RecoveryEnded().
  void Recover(const RecoveredJob& job);
  void RecoveryEnded();

  // All deferred mail becomes due now, suspended destinations are tried again.
  void Flush();
  // What an operator may do to messages and destinations.
  ShardOperations& operations() { return operations_; }
  // The same in short; true if it is done now, see OperationResult, or, of mail that may be
  // parked, begun.
  bool Hold(QueueId id) { return Operate(id, Operation::Kind::kHold); }
  bool Unhold(QueueId id) { return Operate(id, Operation::Kind::kRelease); }
  bool Remove(QueueId id) { return Operate(id, Operation::Kind::kRemove); }
  // From now on works by `settings`; sessions of the old ones end after what they do.
  void Reload(std::shared_ptr<const Settings> settings);

  // No new mail is taken from the queue and no session begun; those that there are finish
  // the transactions that they began.
  void Drain();
  // What is in flight is cut off (recipients after their final dot are uncertain).
  void Cancel();
  // After Drain or Cancel: awaits the end of all sessions, and until `deadline` (or a
  // second after Cancel, if that comes first) that every outcome is durable: a full disk
  // must not keep the process.
  Task<void> Join(MonoTime deadline);

  queue::Scheduler& scheduler() { return scheduler_; }
  Parking& parking() { return parking_; }
  // All jobs, in memory or parked.
  queue::Scheduler::Counts counts() const;
  const ShardStats& stats() const { return stats_; }
  const ShardContext& context() const { return context_; }
  ShardContext* mutable_context() { return &context_; }

 private:
  class CommitWait;
  std::unique_ptr<JobPass> Next(const std::string& nexthop) override;
  std::unique_ptr<JobPass> BeginPass(queue::Job* job);
  // `waited`: set to what it waited for its group, if not null; borrowed.
  Task<absl::Status> Commit(queue::WriteSet writes, absl::Duration* waited);
  void Enqueue(std::shared_ptr<QueuedMessage> message);
  void Load(queue::Job* job);
  void Loaded(queue::Job* job, absl::StatusOr<std::shared_ptr<QueuedMessage>> found);
  void Pump(queue::NexthopQueue* nexthop);
  void PumpAll();
  void PumpLoadLine();
  bool Operate(QueueId id, Operation::Kind kind);
  void ForgetIdleDestinations();
  void TryDeadDestinations();
  void Tick();
  void ArmTick();

  static constexpr size_t kDestinationsKept = 1024;
  // For the records of what was cut off.
  static constexpr absl::Duration kLastOutcomes = absl::Seconds(1);

  ShardContext context_;
  ShardStats stats_;
  TlsSessionCache tls_sessions_;
  DeadAddresses dead_addresses_;
  ToleranceTable tolerances_;
  transport::sasl::SaltedPasswords salted_passwords_;
  MessageMemory memory_;  // Before all that holds messages.
  queue::Scheduler scheduler_;
  Parking parking_;
  TaskScope tasks_;
  QueueIdSource ids_;
  MailAge ages_;
  OperatorWishes wishes_;
  OutcomeRecorder recorder_;
  ExpirySweep expiry_sweep_;
  ParkedExpiry parked_expiry_;
  DelayWatch delay_watch_;
  ShardOperations operations_;
  absl::flat_hash_map<std::string, std::unique_ptr<Destination>> destinations_;
  // Nexthops with ready mail that was refused a load, in the order of their turns.
  std::deque<std::string> load_line_;
  absl::flat_hash_set<std::string> waits_to_load_;
  CallbackTimer tick_;
  bool draining_ = false;
  bool recovering_ = false;
};

}  // namespace mailrace::engine
