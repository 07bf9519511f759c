// What sendmail(1) makes of the text on its standard input: canonical content for SMTP
// and, for -t, the recipients that its header names. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mailrace::engine {

// Input, fed as it is read, to lines that end in CRLF. LF and CRLF end a line; a CR
// anywhere else becomes a space, so that no later hop sees a line's end in it. NUL and
// content over the limit are errors.
class SendmailInput {
 public:
  // `octets_max` 0: none.
  SendmailInput(bool dot_ends_input, size_t octets_max)
      : dot_ends_input_(dot_ends_input), octets_max_(octets_max) {}

  // False: the input ended here (a line with a dot alone); the rest is not looked at.
  // InvalidArgument: NUL. ResourceExhausted: too large.
  absl::StatusOr<bool> Feed(std::string_view octets);
  // A last line without an end gets one.
  absl::Status Finish();
  std::string TakeContent() { return std::move(content_); }

 private:
  absl::StatusOr<bool> EndLine();
  bool dot_ends_input_;
  size_t octets_max_;
  std::string line_;  // The line begun.
  std::string content_;
};

struct HeaderFields {
  // Lines of the header section with their CRLF, Bcc fields and a mailbox separator
  // ("From ") left out.
  std::string section;
  size_t body_at = 0;  // In the content: the empty line, or the first line of the body.
  bool has_from = false;
  bool has_resent_from = false;
  bool resent = false;  // A Resent- field is there: they name the recipients (RFC 5322 3.6.6).
  std::vector<std::string> recipients;
};

// Reads the header section of canonical content. Recipients: To, Cc, Bcc, or their
// Resent- forms if there is a Resent- field; comments, quotes, groups and folding as RFC
// 5322 has them; none are read without `recipients_max`. InvalidArgument: an address cannot be
// read; ResourceExhausted: more than `recipients_max`.
absl::StatusOr<HeaderFields> ReadHeader(std::string_view content,
                                        std::optional<size_t> recipients_max);

// Canonical content whose lines have at most `line_octets_max` octets without CRLF (0: as they
// are): a longer one goes on in a line that begins with a blank, as Postfix does it; where there is
// a blank or a comma, there. Who calls sendmail(1), such as cron, has nobody to tell that its
// lines are too long for SMTP (RFC 5321 4.5.3.1.6).
std::string FoldLongLines(std::string content, size_t line_octets_max);

// The addresses of one field's value, unfolded. Exposed for -t and for command line
// words, which may be lists too.
absl::Status ParseAddressList(std::string_view value, size_t addresses_max,
                              std::vector<std::string>* addresses);

}  // namespace mailrace::engine
