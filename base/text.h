// Small ASCII text helpers that protocol code shares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace {

char AsciiLower(char c);
std::string AsciiLowered(std::string_view text);
std::string AsciiUppered(std::string_view text);
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix);
// Without spaces, tabs, CR and LF at both ends.
std::string_view Trim(std::string_view text);
// Decimal digits only, no sign, no overflow.
std::optional<uint64_t> ParseUint(std::string_view text);
// Octets of the well-formed UTF-8 sequence at the front of `text` (1 for ASCII); 0
// for none: overlong forms, surrogates, values above U+10FFFF, a cut sequence.
size_t Utf8SequenceOctets(std::string_view text);
// How many octets at the front are plain: printable ASCII, blanks among it.
size_t PlainOctets(std::string_view text);
// For logs and DSNs: control characters (C0, DEL, C1, line separators) and octets
// that are not valid UTF-8 become '?', so that one event stays one line
// (reliability.md I-10, P-03). Cut at `octets_max`, never inside a character.
std::string Printable(std::string_view text, size_t octets_max = 4096);

}  // namespace mailrace
