// Content on its way to DATA: dot transparency (RFC 5321 4.5.2), or to BDAT, where octets
// are counted and dots are nothing special (RFC 3030 2); and the last gate before the wire. Intake
// lets only canonical content in; what is not so here was damaged in the queue or slipped through,
// and would be a smuggling attack on the next hop (RFC 5321 2.3.8, reliability.md O-02, O-06).
// Pure.
//
// A pass over a message: Append each chunk, in any cuts, then Finish. After a refusal
// the message must not be ended: drop the connection.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/buffer.h"

namespace mailrace::transport::smtp {

class DotStuffer {
 public:
  // Text octets of a line, without CRLF (RFC 5321 4.5.3.1.6).
  static constexpr size_t kLineOctetsMax = 998;

  enum class Framing { kDots, kChunks };

  // `eight_bit_allowed`: the server takes 8-bit content (RFC 6152).
  explicit DotStuffer(bool eight_bit_allowed, Framing framing = Framing::kDots)
      : eight_bit_allowed_(eight_bit_allowed), framing_(framing) {}

  // Appends `content`, stuffed, to *out: at most twice its size. False: refused, see
  // problem(); what was appended must not be sent.
  bool Append(std::string_view content, Buffer* out);
  // Appends the end of data: CRLF only if the content did not end with one (4.1.1.4),
  // then, for DATA, the lone dot.
  bool Finish(Buffer* out);

  // After a refusal: "bare CR", "bare LF", "NUL", "line over 998 octets", "8-bit octet".
  std::string_view problem() const { return problem_; }

 private:
  bool Refuse(std::string_view problem) {
    problem_ = problem;
    return false;
  }
  // The LF, if `content` begins with it, that ends a CRLF cut in two by chunks.
  bool FinishSplitLineEnd(std::string_view* content, Buffer* out);

  const bool eight_bit_allowed_;
  const Framing framing_;
  bool split_line_end_ = false;  // The last octet was a CR, not appended yet.
  size_t line_octets_ = 0;       // Of the line that is not ended.
  std::string_view problem_;
};

}  // namespace mailrace::transport::smtp
