// The content of a queued message as a session sends it: from memory, or record by
// record from the store.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/loop.h"
#include "base/task.h"
#include "engine/content_reader.h"
#include "engine/queued_message.h"

namespace mailrace::engine {

class TransactionContent {
 public:
  // `loop` and `reader` are borrowed.
  TransactionContent(std::shared_ptr<QueuedMessage> message, Loop* loop, ContentReader* reader)
      : message_(std::move(message)), loop_(loop), reader_(reader) {}

  // As smtp::OutgoingMessage::NextChunk.
  Task<absl::StatusOr<std::string_view>> Next();
  void Rewind() { chunk_ = 0; }

 private:
  std::shared_ptr<QueuedMessage> message_;
  Loop* loop_;
  ContentReader* reader_;
  uint32_t chunk_ = 0;
  std::string loaded_;
};

}  // namespace mailrace::engine
