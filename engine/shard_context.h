// What the parts of one shard share. Everything is borrowed from whoever assembled the
// shard — the engine with its threads, or a simulation without any — and outlives it.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "base/helper.h"
#include "base/logger.h"
#include "base/loop.h"
#include "base/random.h"
#include "base/sync.h"
#include "engine/content_reader.h"
#include "engine/delivery/tolerance_table.h"
#include "engine/flight_journal.h"
#include "engine/mail_age.h"
#include "engine/operator_wishes.h"
#include "engine/queue_id_source.h"
#include "engine/settings.h"
#include "engine/shard_credentials.h"
#include "engine/shard_stats.h"
#include "engine/tls_session_cache.h"
#include "queue/group_commit.h"
#include "queue/scheduler.h"
#include "transport/connection.h"
#include "transport/resolver.h"
#include "transport/sasl/salted_passwords.h"

namespace mailrace::engine {

class DeadAddresses;
class MessageMemory;
class Parking;
class ShardTokens;

struct ShardContext {
  int shard = 0;
  int shards = 1;
  Loop* loop = nullptr;
  transport::Network* network = nullptr;
  transport::Resolver* resolver = nullptr;
  queue::Committer* committer = nullptr;
  queue::CommitSink* commit_sink = nullptr;  // Gives requests back on this shard.
  ContentReader* reader = nullptr;
  Logger* logger = nullptr;
  Random* random = nullptr;
  FlightJournal* flights = nullptr;  // This shard's; null: what is in flight is not listed.
  Helper* helper = nullptr;          // For key derivation; null: done on the shard.
  ShardTokens* tokens = nullptr;     // Null: there are none.
  CredentialPauses* credential_pauses = nullptr;  // All shards' together.
  // The queue can no longer be trusted: says so and ends the process.
  std::function<void(absl::Status)> fatal;
  // Error: nothing gave entropy, so no TLS may be started (null: always ready).
  std::function<absl::Status()> ready_for_tls;
  // Free octets on the queue's file system, kept fresh by another thread.
  std::function<uint64_t()> free_octets;

  // Replaced as a whole on reload; who needs one snapshot for a while copies the pointer.
  std::shared_ptr<const Settings> settings;

  // --- The shard's own. ---
  queue::Scheduler* scheduler = nullptr;
  MessageMemory* memory = nullptr;
  Parking* parking = nullptr;
  TaskScope* tasks = nullptr;
  QueueIdSource* ids = nullptr;
  MailAge* ages = nullptr;
  ShardStats* stats = nullptr;
  TlsSessionCache* tls_sessions = nullptr;
  DeadAddresses* dead_addresses = nullptr;
  ToleranceTable* tolerances = nullptr;
  transport::sasl::SaltedPasswords* salted_passwords = nullptr;
  OperatorWishes* wishes = nullptr;
  // The shard stops: no further address is tried, no session begun.
  bool cancelled = false;
  // The scheduler's next deadline may have come nearer.
  std::function<void()> rearm;
  // A destination is dead: its mail may grow too old untried.
  std::function<void()> destination_died;
};

}  // namespace mailrace::engine
