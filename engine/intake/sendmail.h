// sendmail(1), mailq(1) and newaliases(1): the command that applications call. Exit codes
// are those of sysexits.h; 0 means that the engine has the message on disk.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/time/time.h"

namespace mailrace::engine {

struct SendmailEnvironment {
  // The engine's submission listener: "127.0.0.1:2525", or a unix socket's path. Empty: there is
  // none, EX_CONFIG.
  std::string submission_address = "127.0.0.1:2525";
  std::string myhostname = "localhost";
  std::string myorigin;                    // Behind addresses without a domain; empty: myhostname.
  std::string user;                        // Login name of the caller; empty: looked up.
  std::string full_name;                   // For a From field that is missing; -F has precedence.
  size_t message_size_limit = 10'240'000;  // Octets; 0: none.
  size_t recipient_limit = 1000;
  size_t line_length_limit = 998;  // Octets without CRLF; longer lines are folded. 0: none.
  absl::Duration timeout = absl::Seconds(300);  // Of one step of the dialogue.
  int input_fd = 0;
  int output_fd = 1;
  int error_fd = 2;
  // What mailq and -q do; null: EX_UNAVAILABLE. Return the exit code.
  std::function<int()> list_queue;
  std::function<int()> flush_queue;
};

// `argv[0]` decides between sendmail, mailq and newaliases.
int SendmailMain(int argc, char** argv, const SendmailEnvironment& environment);

}  // namespace mailrace::engine
