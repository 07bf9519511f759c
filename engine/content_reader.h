// Reading back what left memory: asked on a shard, done on another thread, answered on
// the shard (a shard never waits for a disk). The simulator has its own.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "queue/store.h"

namespace mailrace::engine {

class ContentReader {
 public:
  virtual ~ContentReader() = default;
  virtual void ReadMessage(QueueId id,
                           std::function<void(absl::StatusOr<queue::RecoveredMessage>)> answer) = 0;
  virtual void ReadChunk(QueueId id, uint32_t chunk,
                         std::function<void(absl::StatusOr<std::string>)> answer) = 0;
  // A walk over some of the queue: `work` runs where the store may be waited for, in turn
  // with the reads of others, so that it is to be short. It shares with the shard only what
  // the shard leaves alone until `answer`, which has what `work` returned, or why it did not
  // run.
  virtual void Walk(std::function<absl::Status(queue::Store*)> work,
                    std::function<void(absl::Status)> answer) = 0;
};

}  // namespace mailrace::engine
