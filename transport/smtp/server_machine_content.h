// Message content as it comes over the wire, made into what is queued: dots unstuffed,
// the end of data found, and everything counted that a server has to refuse. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mailrace::transport::smtp {

// smtpd_forbid_bare_newline. Whatever it says, only CRLF "." CRLF ends the data: the
// looser ends are how messages are smuggled (CVE-2023-51764, RFC 5321 4.1.1.4).
enum class BareNewline : uint8_t {
  kReject,     // Refuse the message, after its true end.
  kNormalize,  // A bare LF becomes CRLF, a bare CR a space.
};

class ContentScanner {
 public:
  struct Options {
    BareNewline bare_newline = BareNewline::kReject;
    uint64_t octets_max = 0;  // message_size_limit; 0: none.
    size_t line_octets_max =
        998;  // Without the CRLF (RFC 5321 4.5.3.1.6); 0: none, else at least 64.
  };
  enum class Problem : uint8_t { kNone, kBareNewline, kNul, kLongLine, kTooLarge };

  ContentScanner() = default;
  explicit ContentScanner(const Options& options) : options_(options) {}

  // DATA: consumes from the front of *input and appends canonical content, unstuffed,
  // to *content. True once the end of data was consumed; what is left of *input is the
  // next command. After a problem it goes on to the true end and appends nothing more.
  bool FeedData(std::string_view* input, std::string* content);

  // BDAT: all of `input` is content (RFC 3030). FinishChunks says that the last chunk
  // has come: a last line without its CRLF gets one.
  void FeedChunk(std::string_view input, std::string* content);
  void FinishChunks(std::string* content);

  // The first thing found to be wrong; a size over the limit goes before a long line.
  Problem problem() const { return problem_; }
  bool eight_bit() const { return eight_bit_; }  // An octet above 127 came.
  // Octets of content so far, also of those not appended any more.
  uint64_t octets() const { return octets_; }

 private:
  enum class State : uint8_t {
    kLineStart,
    kDot,     // A dot at the start of a line is held back.
    kDotCr,   // That dot and a CR are.
    kText,    // Within a line.
    kTextCr,  // A CR is held back until it is known to begin a CRLF.
  };
  bool Feed(std::string_view* input, std::string* content);
  bool Step(std::string_view* input, std::string* content);
  size_t Run(std::string_view input);
  size_t FirstLineOctets(uint64_t line_ends, size_t base, size_t line_start);
  void Append(std::string_view octets, std::string* content);
  void EndLine(std::string* content);
  void BareLf(std::string* content);
  void BareCr(std::string* content);
  void Found(Problem problem) {
    if (problem_ == Problem::kNone) problem_ = problem;
  }

  Options options_;
  State state_ = State::kLineStart;
  bool dots_ = true;            // DATA, not BDAT.
  bool after_bare_lf_ = false;  // The line began behind a bare LF: no dot ends the data there.
  bool eight_bit_ = false;
  Problem problem_ = Problem::kNone;
  size_t line_octets_ = 0;
  uint64_t octets_ = 0;
};

}  // namespace mailrace::transport::smtp
