// Durable storage of the queue. Implementations: RocksDB; memory with a crash model
// (tests, simulation). Thread-safe: Commit from one thread, reads from any.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "queue/message.h"
#include "queue/write_set.h"

namespace mailrace::queue {

// One message as it was found in the store: what is still owed.
struct RecoveredMessage {
  Envelope envelope;
  std::vector<uint32_t> done_indices;  // Ascending.
  std::vector<Final> done_finals;      // Parallel to it; ReadMessage and Scan alone fill it.
  bool has_retry = false;
  RetryState retry;
};

class Store {
 public:
  virtual ~Store() = default;

  // Writes all sets as one atomic batch and syncs before it returns (invariant I1).
  // Errors: ResourceExhausted (no space: nothing was written, later commits may
  // succeed), DataLoss/Internal (an I/O error at the sync: the store refuses everything
  // from now on; the process must stop, and the refused sets may come back at the next
  // start — reliability.md V4).
  virtual absl::Status Commit(std::span<const WriteSet* const> group) = 0;

  // `durable` is called by Commit on its thread, at most once, when the group is synced: as early
  // as the store knows it, which may be before it can be read. Whoever reads after that waits
  // until it can. The group's sets may go within the call, which must not read the store. If Commit
  // fails nevertheless, the group is found at the next start, and the store refuses everything from
  // now on. Null: nobody is told. Not during a Commit.
  virtual void set_on_durable(std::function<void()> /*durable*/) {}

  // NotFound: the record is missing. DataLoss: damaged; names the file.
  virtual absl::StatusOr<std::string> ReadChunk(QueueId id, uint32_t chunk) = 0;
  virtual absl::StatusOr<RecoveredMessage> ReadMessage(QueueId id) = 0;

  // What a scan met: a message, or the id of one that cannot be read and why (DataLoss).
  using ScanVisitor = std::function<void(QueueId id, absl::StatusOr<RecoveredMessage>)>;
  // Visits at most `limit` messages in ascending order of id, from `from` on, all as of one
  // moment: slice by slice a queue of any size is walked in little memory while others
  // commit. Reads no bodies, changes nothing. Gives the id to go on from, or nothing when
  // the end was reached; messages that come and go between two slices may be missed.
  virtual absl::StatusOr<std::optional<QueueId>> Scan(QueueId from, size_t limit,
                                                      const ScanVisitor& visit) = 0;

  // Calls `found` for every message, in ascending order of id; removes body records
  // that no message owns (intakes that a crash cut short). Before any Commit.
  virtual absl::Status Recover(const std::function<void(RecoveredMessage)>& found) = 0;
  // From within `found`: Recover ends with Cancelled (the process is to stop).
  virtual void AbandonRecovery() {}

  // A queue id above every one that was ever used here: continue from it.
  virtual uint64_t highest_id() const = 0;

  // What was found missing when loss was accepted at the opening; empty: nothing.
  virtual std::string accepted_loss() const { return {}; }

  struct Stats {
    uint64_t commits = 0;         // Synced groups.
    uint64_t octets_written = 0;  // By the log and tables, as far as known.
    uint64_t free_octets = 0;     // On the queue's file system.
  };
  virtual Stats stats() const = 0;
};

}  // namespace mailrace::queue
