// The sessions of one shard with one nexthop: made when there is mail and the window
// allows, reused while there is more, kept idle for a moment, dropped at their limits.
//
// A worker is a coroutine with at most one session. Taking its next job while it still
// waits for the last one's reply is what makes a message cost one round trip.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/sync.h"
#include "base/task.h"
#include "engine/delivery/job_pass.h"
#include "engine/delivery/session_maker.h"
#include "engine/outcome_recorder.h"
#include "engine/routing/hop_name.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

// Gives workers jobs whose message is in memory; loads those that were evicted.
class JobFeed {
 public:
  virtual ~JobFeed() = default;
  // The next pass for `nexthop`, or null when none is ready now (more may be loading).
  virtual std::unique_ptr<JobPass> Next(const std::string& nexthop) = 0;
};

class Destination {
 public:
  Destination(ShardContext* context, OutcomeRecorder* recorder, JobFeed* feed, std::string nexthop);
  // REQUIRES: no worker runs (idle()).
  ~Destination();

  const std::string& nexthop() const { return nexthop_; }
  // There is or may be mail: wakes idle sessions, starts new ones within the window.
  void Pump();
  // No transaction is begun any more: idle sessions quit now, busy ones after the replies
  // to what they began, those being made are given up.
  void Drain();
  // Everything in flight ends as soon as it can (its outcome may be uncertain).
  void Cancel();
  bool idle() const { return workers_.empty(); }

 private:
  class Worker;
  Task<void> Work(Worker* worker);
  Task<void> Connect(Worker* worker, std::unique_ptr<JobPass> pass);
  Task<bool> AwaitMail(Worker* worker);
  void SessionBroke(const Trouble& trouble);
  void DestinationDied(const Trouble& trouble);

  ShardContext* const context_;
  OutcomeRecorder* const recorder_;
  JobFeed* const feed_;
  const std::string nexthop_;
  const HopName hop_;
  std::list<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;  // Last used last: the warmest is woken first.
  size_t connecting_ = 0;
  bool draining_ = false;
  absl::Duration suspension_;  // Grows while the destination stays dead.
};

}  // namespace mailrace::engine
