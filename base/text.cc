#include "base/text.h"

#include <algorithm>
#include <charconv>

namespace mailrace {

char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string AsciiLowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), AsciiLower);
  return out;
}

std::string AsciiUppered(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return out;
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return AsciiLower(x) == AsciiLower(y);
         });
}

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::optional<uint64_t> ParseUint(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

size_t Utf8SequenceOctets(std::string_view text) {
  if (text.empty()) return 0;
  const auto octet = [&](size_t n) { return static_cast<unsigned char>(text[n]); };
  const unsigned char lead = octet(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;  // Continuations, overlong, too large.
  const size_t octets = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < octets) return 0;
  for (size_t n = 1; n < octets; ++n) {
    if ((octet(n) & 0xc0) != 0x80) return 0;
  }
  // The second octet's range depends on the first (RFC 3629 4).
  const unsigned char second = octet(1);
  if (lead == 0xe0 && second < 0xa0) return 0;   // Overlong.
  if (lead == 0xed && second >= 0xa0) return 0;  // Surrogates.
  if (lead == 0xf0 && second < 0x90) return 0;   // Overlong.
  if (lead == 0xf4 && second >= 0x90) return 0;  // Above U+10FFFF.
  return octets;
}

namespace {

// A sequence that a terminal or a log reader would obey rather than show.
bool IsControlSequence(std::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return lead < 0x20 || lead == 0x7f;
  if (sequence.size() == 2) return lead == 0xc2 && static_cast<unsigned char>(sequence[1]) < 0xa0;
  return sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9";  // U+2028, U+2029.
}

}  // namespace

size_t PlainOctets(std::string_view text) {
  const auto plain = [](char c) { return static_cast<unsigned char>(c - 0x20) < 0x7f - 0x20; };
  // Blocks first, each as a whole: so the compiler looks at many octets at once.
  constexpr size_t kBlock = 16;
  size_t at = 0;
  for (; at + kBlock <= text.size(); at += kBlock) {
    bool all = true;
    for (size_t i = 0; i < kBlock; ++i) all &= plain(text[at + i]);
    if (!all) break;
  }
  while (at < text.size() && plain(text[at])) ++at;
  return at;
}

std::string Printable(std::string_view text, size_t octets_max) {
  // Nearly all text is plain to its end.
  const size_t plain = std::min(PlainOctets(text), octets_max);
  std::string out(text.substr(0, plain));
  text.remove_prefix(plain);
  if (text.empty() || plain == octets_max) return out;
  out.reserve(std::min(plain + text.size(), octets_max));
  while (!text.empty()) {
    const size_t octets = Utf8SequenceOctets(text);
    const std::string_view sequence = text.substr(0, octets == 0 ? 1 : octets);
    const bool shown = octets > 0 && !IsControlSequence(sequence);
    if (out.size() + (shown ? octets : 1) > octets_max) break;
    if (shown) {
      out.append(sequence);
    } else {
      out.push_back('?');
    }
    text.remove_prefix(sequence.size());
  }
  return out;
}

}  // namespace mailrace
