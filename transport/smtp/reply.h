// Replies of an SMTP server, RFC 5321 4.2: read octet by octet, bounded, strict.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/enhanced_status.h"

namespace mailrace::transport::smtp {

struct Reply {
  int code = 0;  // 200..599
  // Text after the code and its separator, at least one line, fit for logs: control
  // characters and malformed UTF-8 have become '?' (P-03).
  std::vector<std::string> lines;

  bool positive() const { return code / 100 == 2; }
  bool intermediate() const { return code / 100 == 3; }
  bool transient() const { return code / 100 == 4; }
  bool permanent() const { return code / 100 == 5; }
  EnhancedStatus enhanced() const {
    return EnhancedStatus::ForReply(code, lines.empty() ? std::string_view() : lines[0]);
  }
  // One line for logs and DSNs, as Postfix prints it: "250 text", and of several lines
  // "250-first 250-second 250 last".
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
  // within one reply; limits. A bare LF ends a line (servers do that), a bare CR does
  // not. After an error every further call is the same error, until Reset().
  State Feed(std::string_view* input);
  const Reply& reply() const { return reply_; }
  // Moves the reply out and resets.
  Reply TakeReply();
  // After kProtocolError: what was wrong, printable.
  const std::string& problem() const { return problem_; }
  void Reset();
  // The longest line from now on. AUTH challenges may be longer than other lines:
  // RFC 4954 4 wants room for 12,288 octets.
  void set_line_octets_max(size_t octets) { line_octets_max_ = octets; }

 private:
  State FinishLine(std::string_view line);
  State Error(std::string problem);

  size_t line_octets_max_ = kLineOctetsMax;
  Reply reply_;
  std::string line_;  // The beginning of a line whose end has not come yet.
  std::string problem_;
  size_t octets_ = 0;  // Of the reply so far.
};

}  // namespace mailrace::transport::smtp
