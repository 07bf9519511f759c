// The application of the benches of the intake: what it says, and whoever takes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "transport/smtp/server_machine.h"

namespace mailrace::transport::smtp {

// Lines of 78 octets, at least `octets` in all.
inline std::string Lines(size_t octets) {
  std::string text;
  while (text.size() < octets) text += std::string(76, 'x') + "\r\n";
  return text;
}

// Says commands and content to a machine that accepts everything and keeps nothing.
class NullClient {
 public:
  explicit NullClient(ServerMachine* machine) : machine_(machine) {}
  // The replies.
  std::string Say(std::string_view input) {
    while (true) {
      const ServerMachine::Event event = machine_->Next(&input, &content_);
      if (event == ServerMachine::Event::kNeedsInput) break;
      if (event == ServerMachine::Event::kMail) machine_->AcceptMail();
      if (event == ServerMachine::Event::kRcpt) machine_->AcceptRcpt();
      if (event == ServerMachine::Event::kMessage) {
        machine_->Reply("250 2.0.0 Ok");
        machine_->MessageAccepted();
        content_.clear();
        ++accepted_;
      }
    }
    return machine_->TakeReplies();
  }
  uint64_t accepted() const { return accepted_; }

 private:
  ServerMachine* const machine_;
  std::string content_;
  uint64_t accepted_ = 0;
};

}  // namespace mailrace::transport::smtp
