// What the benches of the SMTP client send, and the server that answers it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/loop.h"
#include "transport/connection.h"
#include "transport/smtp/client_session.h"

namespace mailrace::transport::smtp {

// Looks for ends of data and DATA commands to know what to answer, and at nothing else.
class NullServer final : public Connection {
 public:
  explicit NullServer(Loop* loop) : loop_(loop) { said_ = "220 null\r\n"; }
  void Cancel() override {}
  void CancelRead() override {}
  SocketAddress local() const override { return {}; }
  SocketAddress remote() const override { return {}; }

 protected:
  void StartRead(IoOperation* operation) override {
    operation->into->Append(said_);
    operation->octets = said_.size();
    said_.clear();
    loop_->Resume(operation->handle);
  }
  void StartWrite(IoOperation* operation) override {
    const std::string_view from = operation->from;
    if (from.substr(0, 4) == "EHLO") {
      said_ += "250-null\r\n250-PIPELINING\r\n250 SIZE 0\r\n";
    } else {
      // A write is [content][its end][MAIL RCPT DATA]; any part may be missing.
      if (from.rfind("\r\n.\r\n") != std::string_view::npos || from.substr(0, 3) == ".\r\n") {
        said_ += "250 2.0.0 Ok: queued as 4bQ1zX2Y3z\r\n";
      }
      if (from.substr(from.size() - 6) == "DATA\r\n") {
        said_ += "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n";
      }
    }
    operation->octets = from.size();
    loop_->Resume(operation->handle);
  }

 private:
  Loop* const loop_;
  std::string said_;
};

class OneMessage final : public OutgoingMessage {
 public:
  explicit OneMessage(std::string content) : content_(std::move(content)) {
    reverse_path = "sender@example.org";
    octets = content_.size();
    recipients.emplace_back().forward_path = "recipient@example.net";
  }
  Task<absl::StatusOr<std::string_view>> NextChunk() override {
    const std::string_view chunk = std::exchange(given_, true) ? "" : std::string_view(content_);
    co_return chunk;
  }
  void Rewind() override { given_ = false; }

 private:
  const std::string content_;
  bool given_ = false;
};

}  // namespace mailrace::transport::smtp
