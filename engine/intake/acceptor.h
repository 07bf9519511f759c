// How an intake (SMTP session, sendmail) hands a message to the engine. Implemented by
// the shard; a fake one serves tests. Lives on one shard.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/task.h"
#include "queue/message.h"

namespace mailrace::engine {

class Acceptor {
 public:
  virtual ~Acceptor() = default;

  // A fresh id, never used before or again.
  virtual QueueId NewId() = 0;

  // May a message of about `octets` (0: unknown) begin now? ResourceExhausted: no room
  // on the queue's file system or in memory (452 4.3.1); Unavailable: the queue has
  // failed or the engine is stopping (421/451 4.3.0).
  virtual absl::Status Admit(uint64_t octets) = 0;

  // A body record before the last one of a message larger than kChunkOctetsMax. Written
  // now, owned by nothing until Accept; back-pressure is the await.
  virtual Task<absl::Status> PutChunk(QueueId id, uint32_t chunk, queue::Octets content) = 0;

  // The last (for most messages: only) body record and the envelope, in one atomic
  // synced batch. When this returns OK the message would survive a power cut and its
  // delivery is under way: say 250 (invariant I1). envelope.chunks counts `last_chunk`.
  // On error nothing is owed; the caller answers 4xx. `begun`: when its MAIL came, by the
  // loop's clock; nothing for mail that is older than that, from another queue.
  virtual Task<absl::Status> Accept(queue::Envelope envelope, queue::Octets last_chunk,
                                    std::optional<MonoTime> begun) = 0;

  // The message was given up after PutChunk calls: its records are removed in time.
  virtual void Abandon(QueueId id, uint32_t chunks) = 0;
};

}  // namespace mailrace::engine
