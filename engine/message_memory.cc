#include "engine/message_memory.h"

#include <utility>

namespace mailrace::engine {

void MessageMemory::Add(const std::shared_ptr<QueuedMessage>& message) {
  if (message->counted()) return;
  const size_t octets = message->memory_octets();
  const QueueId id = message->id();
  messages_[id] = message;
  octets_ += octets;
  stats_->memory_octets.Set(octets_);
  message->OnRelease([this, id, octets] {
    messages_.erase(id);
    octets_ -= octets;
    stats_->memory_octets.Set(octets_);
  });
}

std::shared_ptr<QueuedMessage> MessageMemory::Find(QueueId id) const {
  const auto it = messages_.find(id);
  return it == messages_.end() ? nullptr : it->second.lock();
}

void MessageMemory::Ask(QueueId id, bool with_content, Answer answer) {
  std::vector<Answer>& waiting = loading_[id];
  waiting.push_back(std::move(answer));
  if (waiting.size() > 1) return;
  reader_->ReadMessage(id, [this, id, with_content](absl::StatusOr<queue::RecoveredMessage> found) {
    Loaded(id, with_content, std::move(found));
  });
}

void MessageMemory::Loaded(QueueId id, bool with_content,
                           absl::StatusOr<queue::RecoveredMessage> found) {
  if (!found.ok()) {
    Finish(id, found.status());
    return;
  }
  auto message = std::make_shared<QueuedMessage>(*std::move(found));
  if (!with_content || message->streamed() || message->envelope().chunks == 0) {
    Finish(id, std::move(message));
    return;
  }
  reader_->ReadChunk(id, 0, [this, id, message](absl::StatusOr<std::string> content) mutable {
    if (!content.ok()) {
      const bool lost = absl::IsNotFound(content.status());
      Finish(id, lost ? absl::DataLossError(content.status().message()) : content.status());
      return;
    }
    message->set_content(std::make_shared<const std::string>(*std::move(content)));
    Finish(id, std::move(message));
  });
}

void MessageMemory::Finish(QueueId id, absl::StatusOr<std::shared_ptr<QueuedMessage>> result) {
  if (result.ok()) Add(*result);
  const auto it = loading_.find(id);
  const std::vector<Answer> waiting = std::move(it->second);
  loading_.erase(it);
  for (const Answer& answer : waiting) answer(result);
  if (on_load_end_ != nullptr) on_load_end_();
}

}  // namespace mailrace::engine
