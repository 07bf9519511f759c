// Sees to it that senders hear of late mail that nobody tries: it stands in the line of a
// suspended destination. (Mail that is tried is spoken of when its attempt ends:
// engine/outcome_recorder.) Lives on one shard.
//
// Queue ids grow with time, so late mail is a range of ids that grows at its end: of each
// job it is asked once whether its mail is late and untold, in rounds over all jobs, some at
// a time, at most half a minute apart. While mail is parked (engine/parking) the range is
// walked in the store instead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/task.h"
#include "engine/message_memory.h"
#include "engine/outcome_recorder.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

class DelayWatch {
 public:
  // All borrowed; outlive it.
  DelayWatch(ShardContext* context, MessageMemory* memory, OutcomeRecorder* recorder);

  // Begins, or goes on by new settings. Without delay_warning_time it does nothing.
  void Arm();
  // Nothing new is begun.
  void Stop() { stopped_ = true; }

 private:
  void Look();
  Task<void> LookThrough();
  Task<void> LookThroughMemory(QueueId before);
  // The store has all of them, parked or not. False: it could not be read.
  Task<bool> LookThroughStore(QueueId before);
  Task<void> TellAll(std::vector<QueueId> late);
  bool Waits(QueueId id) const;
  // The late ones of the next jobs; `more` tells whether others follow.
  std::vector<QueueId> NextLate(size_t* cursor, QueueId before, bool* more);
  Task<void> Tell(QueueId id);
  Task<std::shared_ptr<QueuedMessage>> Find(QueueId id);
  std::string ReasonOf(const QueuedMessage& message) const;

  ShardContext* const context_;
  MessageMemory* const memory_;
  OutcomeRecorder* const recorder_;
  CallbackTimer timer_;
  QueueId looked_until_;  // Mail with ids below was looked at.
  bool looking_ = false;
  bool stopped_ = false;
};

}  // namespace mailrace::engine
