#include "base/address.h"

#include "base/socket_address.h"
#include "base/text.h"
#include "fmt/format.h"

namespace mailrace {

namespace {

constexpr size_t kLocalPartOctetsMax = 64;  // RFC 5321 4.5.3.1.1
constexpr size_t kDomainOctetsMax = 255;    // RFC 5321 4.5.3.1.2
constexpr size_t kAddressOctetsMax = 254;   // A path is at most 256 with its brackets.
constexpr size_t kLabelOctetsMax = 63;      // RFC 1035 2.3.4

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// RFC 5322 3.2.3.
bool IsAtext(char c) {
  return IsAlnum(c) ||
         (c != '\0' && std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos);
}

bool IsPrintableOrSpace(char c) { return c >= 0x20 && c < 0x7f; }

uint32_t DecodeSequence(std::string_view sequence) {
  static constexpr unsigned char kLeadMask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t point = static_cast<unsigned char>(sequence[0]) & kLeadMask[sequence.size()];
  for (const char c : sequence.substr(1)) point = point << 6 | (static_cast<unsigned char>(c) & 63);
  return point;
}

// C1 controls, line and paragraph separators, and the bidirectional controls that
// make an address read as another one (reliability.md U-06).
bool IsForbiddenPoint(uint32_t point) {
  return point < 0xa0 || (point >= 0x200e && point <= 0x200f) ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
         point == 0xfeff;
}

// Octets of the UTF8-non-ascii (RFC 6531 3.3) at the front of `text`; 0: none is
// there, or the rules allow none.
size_t NonAsciiOctets(std::string_view text, const AddressRules& rules) {
  if (!rules.allow_utf8 || text.empty() || static_cast<unsigned char>(text[0]) < 0x80) return 0;
  const size_t octets = Utf8SequenceOctets(text);
  if (octets == 0 || IsForbiddenPoint(DecodeSequence(text.substr(0, octets)))) return 0;
  return octets;
}

// The Take functions consume what they name from the front of *rest.

// Dot-string = Atom *("." Atom)
absl::StatusOr<std::string> TakeDotString(std::string_view* rest, const AddressRules& rules) {
  size_t at = 0;
  bool atom_open = false;
  while (at < rest->size()) {
    if (IsAtext((*rest)[at])) {
      ++at;
    } else if (const size_t octets = NonAsciiOctets(rest->substr(at), rules); octets > 0) {
      at += octets;
    } else if ((*rest)[at] == '.' && atom_open) {
      ++at;
      atom_open = false;
      continue;
    } else {
      break;
    }
    atom_open = true;
  }
  if (at == 0) return Refused("the local part is missing or begins with a forbidden character");
  if (!atom_open) return Refused("the local part ends in a dot or has two in a row");
  std::string taken(rest->substr(0, at));
  rest->remove_prefix(at);
  return taken;
}

// Quoted-string = DQUOTE *QcontentSMTP DQUOTE; only printable characters, also
// behind a backslash.
absl::StatusOr<std::string> TakeQuotedString(std::string_view* rest, const AddressRules& rules) {
  size_t at = 1;
  while (at < rest->size() && (*rest)[at] != '"') {
    if ((*rest)[at] == '\\') {
      ++at;
      if (at == rest->size() || !IsPrintableOrSpace((*rest)[at])) {
        return Refused("a backslash in the quoted local part quotes nothing printable");
      }
      ++at;
    } else if (IsPrintableOrSpace((*rest)[at])) {
      ++at;
    } else if (const size_t octets = NonAsciiOctets(rest->substr(at), rules); octets > 0) {
      at += octets;
    } else {
      return Refused("the quoted local part has a forbidden character");
    }
  }
  if (at >= rest->size()) return Refused("the quoted local part has no closing quote");
  ++at;
  std::string taken(rest->substr(0, at));
  rest->remove_prefix(at);
  return taken;
}

// address-literal = "[" IPv4 / "IPv6:" IPv6 "]". No other tag was ever registered.
absl::StatusOr<std::string> TakeAddressLiteral(std::string_view* rest) {
  constexpr std::string_view kTag = "IPv6:";
  const size_t close = rest->find(']');
  if (close == std::string_view::npos) return Refused("the address literal has no closing bracket");
  const std::string_view content = rest->substr(1, close - 1);
  const bool v6 = StartsWithIgnoreCase(content, kTag);
  const absl::StatusOr<IpAddress> ip = IpAddress::Parse(v6 ? content.substr(kTag.size()) : content);
  if (!ip.ok() || ip->v6 != v6) return Refused("the address literal holds no IP address");
  std::string taken(rest->substr(0, close + 1));
  rest->remove_prefix(close + 1);
  return taken;
}

// Domain = sub-domain *("." sub-domain), or an address literal. Underscores pass,
// as they do in Postfix: hosts have them although RFC 1123 did not mean them to.
absl::StatusOr<std::string> TakeDomain(std::string_view* rest, const AddressRules& rules) {
  if (rest->starts_with('[')) return TakeAddressLiteral(rest);
  size_t at = 0;
  size_t label_begin = 0;
  while (at < rest->size()) {
    const char c = (*rest)[at];
    if (IsAlnum(c) || c == '_' || c == '-') {
      if (c == '-' && at == label_begin) return Refused("a domain label begins with a hyphen");
      ++at;
    } else if (const size_t octets = NonAsciiOctets(rest->substr(at), rules); octets > 0) {
      at += octets;
    } else if (c == '.' && at > label_begin) {
      if ((*rest)[at - 1] == '-') return Refused("a domain label ends in a hyphen");
      ++at;
      label_begin = at;
      continue;
    } else {
      break;
    }
    if (at - label_begin > kLabelOctetsMax) {
      return Refused(fmt::format("a domain label is longer than {} octets", kLabelOctetsMax));
    }
  }
  if (at == 0) return Refused("the domain is missing or begins with a forbidden character");
  if (at == label_begin) return Refused("the domain ends in a dot or has two in a row");
  if ((*rest)[at - 1] == '-') return Refused("a domain label ends in a hyphen");
  if (at > kDomainOctetsMax) {
    return Refused(fmt::format("the domain is longer than {} octets", kDomainOctetsMax));
  }
  std::string taken(rest->substr(0, at));
  rest->remove_prefix(at);
  return taken;
}

// A-d-l ":" where A-d-l = "@" Domain *("," "@" Domain); must be understood and
// should be ignored (RFC 5321 appendix C).
absl::Status TakeSourceRoute(std::string_view* rest, const AddressRules& rules) {
  while (true) {
    if (!rest->starts_with('@')) return Refused("the source route is malformed");
    rest->remove_prefix(1);
    const absl::StatusOr<std::string> host = TakeDomain(rest, rules);
    if (!host.ok()) return host.status();
    if (rest->empty()) return Refused("the source route has no mailbox behind it");
    const char separator = rest->front();
    rest->remove_prefix(1);
    if (separator == ':') return absl::OkStatus();
    if (separator != ',') return Refused("the source route is malformed");
  }
}

// All of `text` is a mailbox.
absl::StatusOr<MailAddress> ParseMailbox(std::string_view text, const AddressRules& rules) {
  std::string_view rest = text;
  absl::StatusOr<std::string> local =
      rest.starts_with('"') ? TakeQuotedString(&rest, rules) : TakeDotString(&rest, rules);
  if (!local.ok()) return local.status();
  if (local->size() > kLocalPartOctetsMax) {
    return Refused(fmt::format("the local part is longer than {} octets", kLocalPartOctetsMax));
  }
  MailAddress address;
  address.local_part = *std::move(local);
  if (rest.empty()) {
    if (rules.require_domain) return Refused("the address has no domain");
    return address;
  }
  if (rest.front() != '@') return Refused("the local part has a forbidden character");
  rest.remove_prefix(1);
  absl::StatusOr<std::string> domain = TakeDomain(&rest, rules);
  if (!domain.ok()) return domain.status();
  if (!rest.empty()) return Refused("the domain has a forbidden character");
  if (text.size() > kAddressOctetsMax) {
    return Refused(fmt::format("the address is longer than {} octets", kAddressOctetsMax));
  }
  address.domain = *std::move(domain);
  return address;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = AsciiLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool IsXchar(char c) { return c > 0x20 && c < 0x7f && c != '+' && c != '='; }

}  // namespace

absl::StatusOr<MailAddress> ParsePath(std::string_view path, const AddressRules& rules) {
  if (path.size() < 2 || path.front() != '<' || path.back() != '>') {
    return Refused("the address is not in angle brackets");
  }
  std::string_view inner = path.substr(1, path.size() - 2);
  if (inner.empty()) {
    if (rules.allow_null_reverse_path) return MailAddress{};
    return Refused("the address is empty");
  }
  if (inner.front() == '@') {
    const absl::Status route = TakeSourceRoute(&inner, rules);
    if (!route.ok()) return route;
  }
  return ParseMailbox(inner, rules);
}

absl::StatusOr<MailAddress> ParseAddress(std::string_view address, const AddressRules& rules) {
  if (address.empty() || address == "<>") {
    if (rules.allow_null_reverse_path) return MailAddress{};
    return Refused("the address is empty");
  }
  return ParseMailbox(address, rules);
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t octets = Utf8SequenceOctets(text);
    if (octets == 0) return false;
    text.remove_prefix(octets);
  }
  return true;
}

absl::StatusOr<std::string> DecodeXtext(std::string_view xtext) {
  std::string decoded;
  decoded.reserve(xtext.size());
  for (size_t at = 0; at < xtext.size(); ++at) {
    char c = xtext[at];
    if (c == '+') {
      const int high = at + 1 < xtext.size() ? HexDigit(xtext[at + 1]) : -1;
      const int low = at + 2 < xtext.size() ? HexDigit(xtext[at + 2]) : -1;
      if (high < 0 || low < 0) return Refused("'+' in xtext needs two hexadecimal digits");
      c = static_cast<char>(high * 16 + low);
      at += 2;
      const auto octet = static_cast<unsigned char>(c);
      if (octet < 0x20 || octet == 0x7f) return Refused("xtext encodes a control character");
    } else if (!IsXchar(c)) {
      return Refused("xtext has a forbidden character");
    }
    decoded.push_back(c);
  }
  return decoded;
}

std::string EncodeXtext(std::string_view text) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (IsXchar(c)) {
      encoded.push_back(c);
    } else {
      encoded += fmt::format("+{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace mailrace
