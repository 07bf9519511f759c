// Group commit: whatever arrived while the last sync ran, and from those who were waiting for a
// core, becomes one synced batch.
// No timer holds back what somebody waits for; outcomes, for which nobody waits, ride
// with the next group or go after a stated few milliseconds.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "queue/store.h"
#include "queue/write_set.h"

namespace mailrace::queue {

class CommitRequest;

// Receives finished requests. Called on the committer's thread, once per group and
// sink, with `status` already set: hand them to the shard and return. The store may still be at
// work on the group (Store::set_on_durable).
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  virtual void Committed(std::span<CommitRequest* const> finished) = 0;
};

// One change that wants to be durable. Owned by whoever submits; alive until it was
// given back to its sink and Done() was called by the shard.
class CommitRequest {
 public:
  explicit CommitRequest(CommitSink* back_to) : sink(back_to) {}
  virtual ~CommitRequest() = default;
  // On the shard, after the commit. May delete this.
  virtual void Done() = 0;

  WriteSet writes;
  absl::Status status;
  CommitSink* sink;  // Borrowed; outlives the request.
  // From Submit to the beginning of its group; set with `status`.
  absl::Duration waited;
  // Someone waits (an acknowledgement): commit at once. Otherwise within lazy_delay.
  bool urgent = true;
};

class Committer {
 public:
  virtual ~Committer() = default;
  // Any thread. `request` is borrowed until its sink gets it.
  virtual void Submit(CommitRequest* request) = 0;
};

struct CommitStats {
  Counter groups;
  Counter requests;
  Histogram group_requests;  // Requests a group.
  Histogram sync_time;       // Of Store::Commit.
  Histogram wait_time;       // Submit to the beginning of the commit.
};

class GroupCommit final : public Committer {
 public:
  struct Options {
    absl::Duration lazy_delay = absl::Milliseconds(5);
    size_t group_octets_max = 16 << 20;
    size_t group_requests_max = 4096;
    // A commit failed after its group was handed back as durable, which it is: the store refuses
    // everything until the process starts anew. On the commit thread.
    std::function<void(const absl::Status&)> broken;
  };
  // Starts the commit thread. `store` is borrowed, and commits for nobody else meanwhile.
  GroupCommit(Store* store, Options options);
  // Commits what was submitted, then ends the thread.
  ~GroupCommit() override;

  void Submit(CommitRequest* request) override;
  // Everything submitted so far is committed (or failed) when it returns. Not on a shard.
  void Flush();
  const CommitStats& stats() const { return stats_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Pending {
    CommitRequest* request;
    TimePoint submitted;
  };
  struct Line {  // What goes back to one sink.
    CommitSink* sink;
    std::vector<CommitRequest*> finished;
  };

  static TimePoint Now() { return std::chrono::steady_clock::now(); }
  void Run();
  bool MustCommit() const;  // REQUIRES: mutex_ is held.
  bool TakeGroup(std::unique_lock<std::mutex>* lock);
  void LetGather(std::unique_lock<std::mutex>* lock);
  void CommitGroup();
  void HandBack(const absl::Status& status);

  // Constant after construction.
  Store* const store_;
  const Options options_;

  // Written by the commit thread alone.
  CommitStats stats_;
  std::vector<Pending> group_;
  std::vector<const WriteSet*> sets_;
  std::vector<Line> lines_;
  bool handed_back_ = false;  // The requests of group_: they may be gone.

  std::mutex mutex_;
  // Guarded by mutex_. Counts of requests since the start:
  std::deque<Pending> pending_;  // Bounded by what its submitters may have in flight.
  uint64_t submitted_ = 0;
  uint64_t taken_ = 0;         // Into a group.
  uint64_t finished_ = 0;      // Given back.
  uint64_t urgent_until_ = 0;  // Someone waits for the first so many.
  bool sleeping_ = false;      // The commit thread waits for work.
  bool stopping_ = false;
  std::condition_variable wake_;
  std::condition_variable finished_wake_;

  std::thread thread_;  // Last: it uses the members above.
};

}  // namespace mailrace::queue
