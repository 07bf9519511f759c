// A message in a shard's memory: envelope, content if it is small and was not evicted,
// and what became of each recipient so far.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/stages.h"
#include "queue/message.h"
#include "queue/scheduler.h"
#include "queue/store.h"

namespace mailrace::engine {

class QueuedMessage final : public queue::MessageHandle {
 public:
  // Pending -> taken (a pass is about it) -> pending or final.
  enum class RecipientState : uint8_t { kPending, kTaken, kFinal };

  // As accepted: nothing happened yet.
  explicit QueuedMessage(queue::Envelope accepted);
  // As found in the store.
  explicit QueuedMessage(queue::RecoveredMessage found);
  ~QueuedMessage() override;

  const queue::Envelope& envelope() const { return envelope_; }
  QueueId id() const { return envelope_.id; }
  bool streamed() const { return envelope_.chunks > 1; }

  // The content of a message of one chunk; null when it is not in memory.
  const queue::Octets& content() const { return content_; }
  void set_content(queue::Octets content) { content_ = std::move(content); }

  // Still owed, whether a pass is about it or not.
  bool pending(uint32_t recipient) const { return states_[recipient] != RecipientState::kFinal; }
  // A recipient is in one pass at a time, also when a reload routes it elsewhere meanwhile.
  bool taken(uint32_t recipient) const { return states_[recipient] == RecipientState::kTaken; }
  void Take(uint32_t recipient) { states_[recipient] = RecipientState::kTaken; }
  // Unless it became final.
  void GiveBack(uint32_t recipient) {
    if (taken(recipient)) states_[recipient] = RecipientState::kPending;
  }
  // From when it has jobs until its records are being removed. Outside of that time
  // nobody may take it up who finds its records in the store.
  bool queued() const { return queued_; }
  void set_queued(bool queued) { queued_ = queued; }
  uint32_t pending_count() const { return pending_count_; }
  // REQUIRES: pending(recipient).
  void MarkFinal(uint32_t recipient);
  // Recipients that have their own "done" record (durable or on the way).
  std::vector<uint32_t>& done_indices() { return done_indices_; }

  queue::RetryState& retry() { return retry_; }
  const queue::RetryState& retry() const { return retry_; }
  bool has_retry() const { return has_retry_; }
  void set_has_retry() { has_retry_ = true; }

  // For attribution only; nothing for mail whose acceptance this object did not see.
  const std::optional<AcceptTimes>& accept_times() const { return accept_times_; }
  void set_accept_times(const AcceptTimes& times) { accept_times_ = times; }

  // Rough, for the memory budget.
  size_t memory_octets() const;
  // Called once, when the message leaves memory. REQUIRES: !counted().
  void OnRelease(std::function<void()> release) { release_ = std::move(release); }
  bool counted() const { return release_ != nullptr; }

 private:
  queue::Envelope envelope_;
  queue::Octets content_;
  std::vector<RecipientState> states_;
  std::vector<uint32_t> done_indices_;
  uint32_t pending_count_ = 0;
  queue::RetryState retry_;
  bool has_retry_ = false;
  bool queued_ = false;
  std::optional<AcceptTimes> accept_times_;
  std::function<void()> release_;
};

}  // namespace mailrace::engine
