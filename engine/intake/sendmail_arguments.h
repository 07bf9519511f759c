// The command line of sendmail(1), as Postfix reads it. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::engine {

enum class SendmailMode {
  kSubmit,       // -bm, the default: a message on standard input.
  kSmtp,         // -bs: an SMTP dialogue on standard input and output.
  kListQueue,    // -bp, or called as mailq.
  kFlushQueue,   // -q
  kInitAliases,  // -bi, -I, or called as newaliases: there are no aliases; does nothing.
};

struct SendmailArguments {
  SendmailMode mode = SendmailMode::kSubmit;
  std::optional<std::string> sender;     // -f, -r; empty string: "<>".
  std::string full_name;                 // -F
  bool recipients_from_headers = false;  // -t
  bool dot_ends_input = true;            // Off by -i, -oi.
  std::string notify;                    // -N, as NOTIFY= has it; validated.
  std::string ret;                       // -R: "FULL" or "HDRS".
  std::string envid;                     // -V, decoded.
  bool verbose = false;                  // -v
  std::vector<std::string> recipients;   // Not checked yet.
};

// `arguments` without the program's name; `program` is its last component. What Postfix
// ignores for compatibility (-o and its options, -e, -B, -h, -m, -n, -U …) is ignored, and no
// option names a file. Error: what to print before exit 64.
absl::StatusOr<SendmailArguments> ParseSendmailArguments(const std::string& program,
                                                         const std::vector<std::string>& arguments);

}  // namespace mailrace::engine
