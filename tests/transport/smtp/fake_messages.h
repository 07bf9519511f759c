// Messages and their source for tests of the client session.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

class FakeMessage final : public OutgoingMessage {
 public:
  std::string name;
  std::vector<std::string> chunks;  // The content, in these pieces; none is empty.
  absl::Status content_failure;     // Not OK: comes after the chunks.

  FakeMessage& Add(std::string forward_path) {
    OutgoingRecipient recipient;
    recipient.forward_path = std::move(forward_path);
    recipient.index = static_cast<uint32_t>(recipients.size());
    recipients.push_back(std::move(recipient));
    return *this;
  }

  Task<absl::StatusOr<std::string_view>> NextChunk() override {
    if (next_ < chunks.size()) co_return std::string_view(chunks[next_++]);
    if (!content_failure.ok()) co_return content_failure;
    co_return std::string_view();
  }
  void Rewind() override { next_ = 0; }

 private:
  size_t next_ = 0;
};

inline std::unique_ptr<FakeMessage> MakeMessage(std::string name, std::string content) {
  auto message = std::make_unique<FakeMessage>();
  message->name = std::move(name);
  message->reverse_path = "a@example.org";
  message->octets = content.size();
  if (!content.empty()) message->chunks.push_back(std::move(content));
  return message;
}

// Gives its messages in order, `allowed` of them; checks that each comes back once and
// in that order.
class FakeSource final : public TransactionSource {
 public:
  std::deque<FakeMessage*> waiting;
  std::vector<FakeMessage*> finished;
  size_t allowed = SIZE_MAX;
  bool out_of_order = false;
  bool backlog = false;  // More than what is here seems to follow.

  OutgoingMessage* Next() override {
    if (waiting.empty() || allowed == 0) return nullptr;
    --allowed;
    taken_.push_back(waiting.front());
    waiting.pop_front();
    return taken_.back();
  }
  bool MoreFollow() const override { return backlog || (!waiting.empty() && allowed > 0); }
  void Finished(OutgoingMessage* message) override {
    if (taken_.empty() || taken_.front() != message) {
      out_of_order = true;
      return;
    }
    finished.push_back(taken_.front());
    taken_.pop_front();
  }
  bool all_given_back() const { return taken_.empty() && !out_of_order; }

 private:
  std::deque<FakeMessage*> taken_;
};

}  // namespace mailrace::transport::smtp
