// Carries out what administrators ask of the queue and writes the answers: JSON lines as
// they come about, so that a queue of any size is answered in little memory. Lives on the
// first shard; several administrators at once.
//
//   list               a ListJson for each message; unreadable ones as {"queue_id", "error"}
//   show               a ShowJson, or {"queue_id", "result": "not found"}
//   export             {"envelope": ExportJson}, {"content": BASE64}…, {"end": true}; or
//                      {"broken": WHY} instead of the rest
//   hold | release | flush | remove | bounce
//                      {"queue_id", "result": RESULT, "why"} for what was not done (with
//                      "verbose" or "dry_run" for all), then {"summary": {…}}
//   suspend | resume   {"summary": {"changed": N, "nexthop"}}
// Every answer that is complete ends with a "summary" or an "error".
// RESULT: "done", "would be done", "after attempt", "unchanged", "not found", "failed".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "engine/admin/queue_request.h"
#include "engine/admin/queue_walk.h"
#include "engine/admin/shard_calls.h"
#include "engine/admin/suspensions.h"
#include "nlohmann/json_fwd.hpp"
#include "transport/stream.h"

namespace mailrace::engine {

class QueueCommands {
 public:
  // All borrowed; outlive this. `suspensions`: as loaded at start; the shards have them.
  QueueCommands(ShardCalls* calls, const Clock* clock, std::string queue_directory,
                std::vector<Suspension> suspensions)
      : calls_(calls),
        clock_(clock),
        queue_directory_(std::move(queue_directory)),
        suspensions_(std::move(suspensions)) {}

  // Writes to stream->output() and flushes as it goes, save for the rest.
  Task<void> Handle(QueueRequest request, transport::Stream* stream);

  const std::vector<Suspension>& suspensions() const { return suspensions_; }

 private:
  using Request = std::shared_ptr<const QueueRequest>;
  Task<void> List(Request request, transport::Stream* stream);
  Task<void> Show(Request request, transport::Stream* stream);
  Task<void> Export(Request request, transport::Stream* stream);
  Task<void> ExportOne(queue::RecoveredMessage message, transport::Stream* stream);
  Task<void> Change(Request request, transport::Stream* stream);
  Task<void> FlushAll(transport::Stream* stream);
  Task<void> Suspend(Request request, transport::Stream* stream);
  Task<absl::Status> SaveSuspensions();
  // Sends what is there if it is much. Not OK: nobody listens any more.
  Task<absl::Status> SendIfMuch(transport::Stream* stream, size_t much);

  ShardCalls* const calls_;
  const Clock* const clock_;
  const std::string queue_directory_;
  std::vector<Suspension> suspensions_;
};

// One line of an answer.
void Say(transport::Stream* stream, const nlohmann::json& json);

}  // namespace mailrace::engine
