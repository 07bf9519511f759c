// How the sendmail(1) process hands a message to the engine: a blocking SMTP dialogue
// over a TCP or unix socket, each step with a deadline. Runs in the caller's process, never
// on a shard.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "transport/smtp/reply.h"

namespace mailrace::engine {

class SubmissionSocket {
 public:
  // "192.0.2.1:25", "[::1]:25", or a unix socket's path beginning with "/".
  static absl::StatusOr<SubmissionSocket> Connect(const std::string& address,
                                                  absl::Duration timeout);
  SubmissionSocket(SubmissionSocket&& other) noexcept;
  SubmissionSocket& operator=(SubmissionSocket&&) = delete;
  ~SubmissionSocket();

  absl::Status Write(std::string_view octets);
  // Unavailable: closed; DeadlineExceeded; InvalidArgument: not SMTP.
  absl::StatusOr<transport::smtp::Reply> ReadReply();
  // Copies both ways until both directions are closed (sendmail -bs).
  absl::Status Relay(int input_fd, int output_fd);

 private:
  SubmissionSocket(int fd, absl::Duration timeout) : fd_(fd), timeout_(timeout) {}
  absl::Status Await(short events, absl::Time deadline) const;

  int fd_;
  absl::Duration timeout_;  // Of one step.
  std::string input_;       // Received, not read yet.
};

struct SubmissionRequest {
  std::string helo_name;
  std::string reverse_path;
  std::vector<std::string> recipients;
  std::string notify;  // Values of NOTIFY=, RET= and ENVID= (xtext); empty: none.
  std::string ret;
  std::string envid;
  bool smtputf8 = false;
  std::string content;  // Canonical, not dot-stuffed.
};

// What came of it, as sendmail(1) exits.
struct SubmissionOutcome {
  int exit_code = 0;  // EX_OK only after the 250 to the end of data.
  std::string text;   // For the user: what was refused and why, or "queued as …".
};

// All recipients or none: a message that reached only some of its recipients cannot be
// told by an exit code.
SubmissionOutcome Submit(SubmissionSocket* socket, const SubmissionRequest& request);

}  // namespace mailrace::engine
