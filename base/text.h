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
// For logs and DSNs: control characters and octets that are not valid UTF-8 become
// '?', so that one event stays one line (reliability.md I-10, P-03). Cut at
// `octets_max`.
std::string Printable(std::string_view text, size_t octets_max = 4096);

}  // namespace mailrace
