// Text of main.cf to values. Errors (InvalidArgument) say what was expected, without
// the parameter's name or place, which the caller adds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::engine::config {

// "yes" or "no", in any case; nothing else, as in Postfix.
absl::StatusOr<bool> ParseYesNo(std::string_view text);
// Decimal, within [min, max].
absl::StatusOr<int64_t> ParseInteger(std::string_view text, int64_t min, int64_t max);
// Decimal octets, optionally with k, M or G (powers of 1024; Postfix knows digits only).
absl::StatusOr<int64_t> ParseOctets(std::string_view text, int64_t min, int64_t max);
// Decimal number and one of s m h d w; `unit` is meant if there is none. Within
// [min, max] seconds.
absl::StatusOr<absl::Duration> ParseTime(std::string_view text, char unit, int64_t min_seconds,
                                         int64_t max_seconds);
// "5d", "4000s": the largest unit that says it exactly.
std::string FormatTime(absl::Duration time);

// Words between commas and white space; a "{...}" with balanced braces is (part of) one
// word. Error: unbalanced braces.
absl::StatusOr<std::vector<std::string>> SplitList(std::string_view text);

// The inside of "{ text }" without white space at its ends; other text as it is.
std::string_view StripBraces(std::string_view text);

}  // namespace mailrace::engine::config
