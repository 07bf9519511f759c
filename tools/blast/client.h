// One session with the server as a blast speaks it: from the connect to the moment when
// MAIL may be said, then commands out and replies in. Lives on the sending thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/loop.h"
#include "base/task.h"
#include "tools/blast/options.h"
#include "transport/connection.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/reply.h"
#include "transport/stream.h"
#include "transport/tls/engine.h"

namespace mailrace::blast {

// What all sessions share. Borrowed; outlives them.
struct ClientContext {
  const BlastOptions* options = nullptr;
  Loop* loop = nullptr;
  transport::Network* network = nullptr;
  std::shared_ptr<const transport::tls::Context> tls;  // Null: no TLS.
};

class Client {
 public:
  explicit Client(const ClientContext* context) : context_(context) {}

  // Connects and says all that comes before MAIL. `resume` may be null. Errors are one
  // line that names the step.
  Task<absl::Status> Open(transport::tls::SessionPtr resume);

  // Octets that the next ReadReply() sends.
  Buffer& output() { return stream_->output(); }
  // Sends what is queued, if anything, and reads one reply. A reply 421 is an error: the
  // session is over (RFC 5321 3.8).
  Task<absl::StatusOr<transport::smtp::Reply>> ReadReply();
  // Says QUIT and waits for nothing but the reply to it.
  Task<void> Quit();

  bool pipelining() const { return capabilities_.pipelining && context_->options->pipelining; }
  // After Open(): null in clear.
  transport::tls::Engine* tls() { return stream_->tls(); }
  const std::string& mechanism() const { return mechanism_; }
  // Ends what waits with Cancelled.
  void Cancel();

 private:
  MonoTime Deadline() const { return context_->loop->now() + context_->options->timeout; }
  Task<absl::Status> Secure(transport::tls::SessionPtr resume);
  Task<absl::Status> Ehlo();
  Task<absl::Status> Authenticate();
  // Writes `line`, expects a reply of class 2.
  Task<absl::Status> Say(std::string line);
  Task<absl::Status> ExpectPositive(std::string step);

  const ClientContext* const context_;
  bool cancelled_ = false;
  std::unique_ptr<transport::Stream> stream_;
  transport::smtp::ReplyParser parser_;
  transport::smtp::Reply last_reply_;
  transport::smtp::Capabilities capabilities_;
  std::string mechanism_;
};

}  // namespace mailrace::blast
