// What an administrator may ask of a running engine, and the answers. Runs on the first
// shard; asks the others through their inboxes.
//
// Requests: {"command": NAME, ...}
//   stats                                  one object
//   flush                                  {"flushed": N}
//   list    [id]                           an object a job
//   hold | release | remove   id | all     {"changed": N}
// Errors: {"error": TEXT}.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "engine/admin/control_server.h"
#include "engine/entropy/entropy_service.h"
#include "engine/logs/async_logger.h"
#include "engine/possible_duplicates.h"
#include "engine/shard_thread.h"
#include "queue/group_commit.h"
#include "queue/store.h"

namespace mailrace::engine {

// All borrowed; outlive the handler.
struct ControlParts {
  Loop* loop = nullptr;  // Of the first shard.
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
  explicit EngineControl(ControlParts parts) : parts_(std::move(parts)) {}
  Task<void> Handle(std::string request, transport::Stream* stream) override;

 private:
  Task<void> Stats(transport::Stream* stream);
  Task<void> Flush(transport::Stream* stream);
  Task<void> List(std::string id, transport::Stream* stream);
  Task<void> Change(std::string command, std::string id, transport::Stream* stream);

  const ControlParts parts_;
};

}  // namespace mailrace::engine
