#include "engine/queued_message.h"

namespace mailrace::engine {

QueuedMessage::QueuedMessage(queue::Envelope accepted)
    : envelope_(std::move(accepted)),
      states_(envelope_.recipients.size(), RecipientState::kPending),
      pending_count_(static_cast<uint32_t>(envelope_.recipients.size())) {}

QueuedMessage::QueuedMessage(queue::RecoveredMessage found)
    : QueuedMessage(std::move(found.envelope)) {
  done_indices_ = std::move(found.done_indices);
  for (const uint32_t index : done_indices_) {
    if (index < states_.size() && pending(index)) MarkFinal(index);
  }
  has_retry_ = found.has_retry;
  queued_ = true;
  retry_ = std::move(found.retry);
}

QueuedMessage::~QueuedMessage() {
  if (release_ != nullptr) release_();
}

void QueuedMessage::MarkFinal(uint32_t recipient) {
  states_[recipient] = RecipientState::kFinal;
  --pending_count_;
}

size_t QueuedMessage::memory_octets() const {
  size_t octets = sizeof(*this) + envelope_.reverse_path.size() + envelope_.message_id.size();
  octets += envelope_.recipients.size() * (sizeof(queue::Recipient) + 32);
  if (content_ != nullptr) octets += content_->size();
  return octets;
}

}  // namespace mailrace::engine
