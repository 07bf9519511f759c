// What an administrator may ask of a running engine. Runs on the first shard; asks the
// others through their inboxes. Answers {"error": TEXT} to what it does not understand.
//
//   {"command": "stats"}     one object: what the engine counted
//   {"command": "import", …} engine/admin/import_command.h
//   the verbs of the queue   engine/admin/queue_request.h, queue_commands.h
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "engine/admin/control_server.h"
#include "engine/admin/queue_commands.h"
#include "engine/admin/shard_calls.h"
#include "engine/admin/suspensions.h"
#include "engine/entropy/entropy_service.h"
#include "engine/logs/async_logger.h"
#include "engine/possible_duplicates.h"
#include "engine/shard_thread.h"
#include "queue/group_commit.h"
#include "queue/store.h"

namespace mailrace::engine {

// All borrowed; outlive the handler.
struct ControlParts {
  ShardRuntime* here = nullptr;  // The first shard's.
  Logger* logger = nullptr;
  std::string queue_directory;
  std::vector<Suspension> suspensions;  // As loaded; the shards go by them.
  const std::vector<std::unique_ptr<ShardThread>>* shards = nullptr;
  StoreReadThread* store_reader = nullptr;
  queue::Store* store = nullptr;
  const queue::GroupCommit* committer = nullptr;
  const PossibleDuplicates* possible_duplicates = nullptr;
  const entropy::EntropyService* entropy = nullptr;
  const Clock* clock = nullptr;
  MonoTime started;
  std::function<logs::AsyncLogger::Stats()> log_stats;
};

class EngineControl final : public ControlHandler {
 public:
  explicit EngineControl(ControlParts parts);
  Task<void> Handle(std::string request, transport::Stream* stream) override;
  // Whoever waits for shards gives up soon: they may have ended.
  void Stop() { calls_.Stop(); }

 private:
  Task<void> Stats(transport::Stream* stream);

  const ControlParts parts_;
  ShardCalls calls_;
  QueueCommands queue_;
  // Nothing older is in the queue: ids only grow.
  QueueId oldest_;
};

}  // namespace mailrace::engine
