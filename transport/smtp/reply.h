// Replies of an SMTP server, RFC 5321 4.2: read octet by octet, bounded, strict.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/enhanced_status.h"

namespace mailrace::transport::smtp {

struct Reply {
  int code = 0;                    // 200..599
  std::vector<std::string> lines;  // Text after the code and its separator, at least one.

  bool positive() const { return code / 100 == 2; }
  bool intermediate() const { return code / 100 == 3; }
  bool transient() const { return code / 100 == 4; }
  bool permanent() const { return code / 100 == 5; }
  EnhancedStatus enhanced() const {
    return EnhancedStatus::ForReply(code, lines.empty() ? std::string_view() : lines[0]);
  }
  // One line for logs and DSNs, as Postfix prints it: "CODE TEXT" and further lines
  // joined as "CODE-FIRST CODE LAST" is not used; Postfix joins "250-a 250 b". Printable.
  std::string ToString() const;
};

// Feed it what has come; it says how far a reply goes. Pure.
class ReplyParser {
 public:
  // Limits of a whole reply: beyond them it is a protocol error (P-01, P-02).
  static constexpr size_t kLineOctetsMax = 4096;
  static constexpr size_t kReplyOctetsMax = 64 * 1024;
  static constexpr size_t kLinesMax = 200;

  enum class State { kNeedsMore, kComplete, kProtocolError };
  // Consumes from the front of *input (advances it). After kComplete take reply() and
  // call Reset(); what is left of *input belongs to the next reply. Errors: code not
  // three digits 2xx..5xx followed by SP, '-' or the line's end; codes that differ
  // within one reply; NUL; limits. A bare LF ends a line (servers do that), a bare CR
  // does not.
  State Feed(std::string_view* input);
  const Reply& reply() const { return reply_; }
  Reply TakeReply();
  // After kProtocolError: what was wrong, printable.
  const std::string& problem() const { return problem_; }
  void Reset();

 private:
  State FinishLine();
  Reply reply_;
  std::string line_;
  std::string problem_;
  size_t octets_ = 0;
};

}  // namespace mailrace::transport::smtp
