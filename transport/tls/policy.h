// Postfix's words for protocols and ciphers (smtp_tls_protocols, smtp_tls_ciphers,
// smtp_tls_exclude_ciphers), translated. Pure functions of text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::transport::tls {

// Bits of ProtocolRange::excluded.
inline constexpr unsigned kTls10 = 1;
inline constexpr unsigned kTls11 = 2;
inline constexpr unsigned kTls12 = 4;
inline constexpr unsigned kTls13 = 8;

// Versions are as on the wire (RFC 8446 4.1.2): 0x0301 is TLSv1, 0x0304 is TLSv1.3.
// 0: no limit on that side.
struct ProtocolRange {
  int lowest = 0;
  int highest = 0;
  unsigned excluded = 0;
  friend bool operator==(const ProtocolRange&, const ProtocolRange&) = default;
};

// A list of protocols, separated by spaces, commas or colons. ">=TLSv1.2" and "<=TLSv1.3"
// limit the range (a number like 0x0303 or 771 does too); "!SSLv3" excludes; names
// without a sign exclude all that is not named. SSLv2 and SSLv3 are understood, but the
// library has neither. Empty: no limits. InvalidArgument names an unknown word, and
// lists that leave nothing.
absl::StatusOr<ProtocolRange> ParseProtocols(std::string_view list);

// The library's cipher list for a grade and the exclusions, as Postfix builds it. Each
// element of `exclude` may hold several names. The grades "export" and "low" have meant
// "medium" since Postfix 3.8, whose table this is. TLS 1.3's suites are not concerned.
// InvalidArgument: unknown grade; an exclusion that begins with one of "!+-@".
absl::StatusOr<std::string> CipherList(std::string_view grade,
                                       const std::vector<std::string>& exclude);

// True if anonymous ciphers (no certificate at all) are among the exclusions: the mark
// of a policy that means to authenticate its peer.
bool ExcludesAnonymous(const std::vector<std::string>& exclude);

}  // namespace mailrace::transport::tls
