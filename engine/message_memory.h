// The messages that a shard has in memory, each as one object, whoever holds it: two
// jobs, a pass and an outcome on its way to the disk must agree on who is still owed.
// Reads back those that left. Lives on one shard.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/content_reader.h"
#include "engine/queued_message.h"
#include "engine/shard_stats.h"
#include "queue/message.h"

namespace mailrace::engine {

class MessageMemory {
 public:
  // Borrowed; outlive it. REQUIRES: it outlives the messages.
  MessageMemory(ContentReader* reader, ShardStats* stats) : reader_(reader), stats_(stats) {}
  MessageMemory(const MessageMemory&) = delete;
  MessageMemory& operator=(const MessageMemory&) = delete;

  // From now on it counts, until its last holder lets go. Before it is on its way to the
  // disk, so that whoever finds it there knows that it has a holder.
  void Add(const std::shared_ptr<QueuedMessage>& message);
  // Null if nobody holds it. What the store says of one that somebody holds may be out of
  // date: the newest outcomes are still on their way there.
  std::shared_ptr<QueuedMessage> Find(QueueId id) const;

  using Answer = std::function<void(absl::StatusOr<std::shared_ptr<QueuedMessage>>)>;
  // Reads it from the store, with its content if that is one record. Whoever asks for the
  // same message meanwhile gets the same object. REQUIRES: Find(id) is null. Deliveries ask
  // may_load() first; an operator's wish need not. NotFound: there is no such message (any
  // more); other errors: it is there and cannot be read.
  void Load(QueueId id, Answer answer) { Ask(id, true, std::move(answer)); }
  // The same without the content, which a body that cannot be read need not keep from it:
  // for changes of its records. A delivery that meets this object reads the content itself.
  void LoadEnvelope(QueueId id, Answer answer) { Ask(id, false, std::move(answer)); }
  // Not too many at once, nor more than there is room for below `octets_max`, however large
  // those are that are on their way; one always, for none may have to wait for another to leave.
  bool may_load(uint64_t octets_max = UINT64_MAX) const {
    const uint64_t room = octets_ < octets_max ? octets_max - octets_ : 0;
    return loading_.empty() || loading_.size() < std::min(kLoadsMax, room / queue::kChunkOctetsMax);
  }
  // Called after each load and its answers: whoever was refused one may try again.
  void set_on_load_end(std::function<void()> callback) { on_load_end_ = std::move(callback); }

  uint64_t octets() const { return octets_; }

 private:
  void Ask(QueueId id, bool with_content, Answer answer);
  void Loaded(QueueId id, bool with_content, absl::StatusOr<queue::RecoveredMessage> found);
  void Finish(QueueId id, absl::StatusOr<std::shared_ptr<QueuedMessage>> result);

  static constexpr uint64_t kLoadsMax = 256;

  ContentReader* const reader_;
  ShardStats* const stats_;
  absl::flat_hash_map<QueueId, std::weak_ptr<QueuedMessage>> messages_;
  absl::flat_hash_map<QueueId, std::vector<Answer>> loading_;
  std::function<void()> on_load_end_;
  uint64_t octets_ = 0;
};

}  // namespace mailrace::engine
