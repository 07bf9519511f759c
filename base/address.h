// Mail addresses as they stand in SMTP paths (RFC 5321 4.1.2, RFC 6531 3.3).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mailrace {

// A mailbox without its angle brackets: local-part@domain. Value type.
struct MailAddress {
  std::string local_part;  // As written, quotes kept.
  std::string domain;      // As written; an address literal keeps its brackets.

  std::string ToString() const { return domain.empty() ? local_part : local_part + "@" + domain; }
};

struct AddressRules {
  bool allow_utf8 = false;               // SMTPUTF8 was asked for: valid UTF-8, no controls.
  bool require_domain = true;            // RFC 6409 4.2: fully qualified. Else "postmaster" passes.
  bool allow_null_reverse_path = false;  // "<>" gives an empty address.
};

// `path` is what follows "FROM:" or "TO:", up to the parameters: "<a@b>",
// "<@relay:a@b>" (the source route is dropped, RFC 5321 appendix C), "<>".
// Refuses controls, 8-bit without allow_utf8, and lengths over 64 (local part),
// 255 (domain), 254 (whole). The error's text is fit for a 501/553 reply.
absl::StatusOr<MailAddress> ParsePath(std::string_view path, const AddressRules& rules);

// The same for a bare address (command line, configuration).
absl::StatusOr<MailAddress> ParseAddress(std::string_view address, const AddressRules& rules);

bool IsAscii(std::string_view text);
// Well-formed UTF-8: no overlong forms, surrogates or values above U+10FFFF.
bool IsValidUtf8(std::string_view text);
// RFC 3461 4: xtext, printable ASCII with +XX for the rest. Refuses a decoded
// control character (reliability.md I-07).
absl::StatusOr<std::string> DecodeXtext(std::string_view xtext);
std::string EncodeXtext(std::string_view text);

}  // namespace mailrace
