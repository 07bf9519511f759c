// The queue in memory, for tests and simulation, with a model of crashes: what was not
// synced when the power goes is lost.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "queue/store.h"

namespace mailrace::queue {

class MemoryStore final : public Store {
 public:
  absl::Status Commit(std::span<const WriteSet* const> group) override;
  absl::StatusOr<std::string> ReadChunk(QueueId id, uint32_t chunk) override;
  absl::StatusOr<RecoveredMessage> ReadMessage(QueueId id) override;
  absl::StatusOr<std::optional<QueueId>> Scan(QueueId from, size_t limit,
                                              const ScanVisitor& visit) override;
  absl::Status Recover(const std::function<void(RecoveredMessage)>& found) override;
  uint64_t highest_id() const override;
  Stats stats() const override;

  // --- Faults. ---
  // Commits return OK but are not synced until the next honest one (a mutation that an
  // oracle must catch).
  void set_sync_is_ignored(bool ignored);
  // The next `count` commits fail with `status`; if it is DataLoss the store is dead
  // afterwards and the refused group survives the crash if `survives`.
  void FailCommits(int count, absl::Status status, bool survives = false);
  // What stats() says of the file system; plenty at first.
  void set_free_octets(uint64_t octets);
  // The keys of all records.
  std::set<std::pair<Family, std::string>> Keys() const;
  // What is not synced is gone; the store is as a new process would find it.
  void Crash();

 private:
  using Records = std::map<std::pair<Family, std::string>, std::string>;
  void Apply(std::span<const WriteSet* const> group, Records* records);
  void CatchUp();  // What was written unsynced is synced now.

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  Records current_;
  Records synced_;
  bool behind_ = false;  // current_ has what synced_ has not.
  bool sync_is_ignored_ = false;
  bool dead_ = false;
  int failures_ = 0;
  bool failure_survives_ = false;
  absl::Status failure_;
  uint64_t highest_id_ = 0;
  Stats stats_{.free_octets = uint64_t{1} << 40};
};

}  // namespace mailrace::queue
