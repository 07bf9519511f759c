#include "engine/config/values.h"

#include <fmt/format.h>

#include <optional>

#include "base/text.h"

namespace mailrace::engine::config {
namespace {

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

absl::StatusOr<int64_t> Number(std::string_view text) {
  const std::optional<uint64_t> value = ParseUint(text);
  if (!value || *value > static_cast<uint64_t>(INT64_MAX)) {
    return Bad(fmt::format("bad numerical value \"{}\"; expected decimal digits", text));
  }
  return static_cast<int64_t>(*value);
}

absl::StatusOr<int64_t> Scaled(int64_t number, int64_t factor, std::string_view text) {
  int64_t product = 0;
  if (__builtin_mul_overflow(number, factor, &product)) {
    return Bad(fmt::format("value \"{}\" is too large", text));
  }
  return product;
}

std::optional<int64_t> SecondsOf(char unit) {
  switch (unit) {
    case 's':
      return 1;
    case 'm':
      return 60;
    case 'h':
      return 3600;
    case 'd':
      return 86400;
    case 'w':
      return 7 * 86400;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<bool> ParseYesNo(std::string_view text) {
  if (EqualsIgnoreCase(text, "yes")) return true;
  if (EqualsIgnoreCase(text, "no")) return false;
  return Bad(fmt::format("bad boolean value \"{}\"; expected yes or no", text.substr(0, 80)));
}

absl::StatusOr<int64_t> ParseInteger(std::string_view text, int64_t min, int64_t max) {
  absl::StatusOr<int64_t> value = Number(text);
  if (!value.ok()) return value;
  if (*value < min || *value > max) {
    return Bad(max == INT64_MAX ? fmt::format("{} is below the minimum {}", *value, min)
                                : fmt::format("{} is not within {}..{}", *value, min, max));
  }
  return value;
}

absl::StatusOr<int64_t> ParseOctets(std::string_view text, int64_t min, int64_t max) {
  std::string_view digits = text;
  int64_t factor = 1;
  if (!digits.empty()) {
    const char suffix = AsciiLower(digits.back());
    factor = suffix == 'k' ? 1LL << 10 : suffix == 'm' ? 1LL << 20 : suffix == 'g' ? 1LL << 30 : 1;
    if (factor > 1) digits.remove_suffix(1);
  }
  absl::StatusOr<int64_t> value = Number(digits);
  if (!value.ok()) {
    return Bad(fmt::format("bad size \"{}\"; expected octets, such as 10240000 or 512M",
                           text.substr(0, 80)));
  }
  value = Scaled(*value, factor, text);
  if (value.ok() && (*value < min || *value > max)) {
    return Bad(max == INT64_MAX ? fmt::format("{} octets is below the minimum {}", *value, min)
                                : fmt::format("{} octets is not within {}..{}", *value, min, max));
  }
  return value;
}

absl::StatusOr<absl::Duration> ParseTime(std::string_view text, char unit, int64_t min_seconds,
                                         int64_t max_seconds) {
  std::string_view digits = text;
  if (!digits.empty() && (digits.back() < '0' || digits.back() > '9')) {
    unit = digits.back();
    digits.remove_suffix(1);
  }
  const std::optional<int64_t> factor = SecondsOf(unit);
  absl::StatusOr<int64_t> value = Number(digits);
  if (!factor || !value.ok()) {
    return Bad(fmt::format("bad time \"{}\"; expected a number and one of s m h d w, such as 300s",
                           text.substr(0, 80)));
  }
  value = Scaled(*value, *factor, text);
  if (!value.ok()) return value.status();
  if (*value < min_seconds || *value > max_seconds) {
    return Bad(fmt::format("{} is not within {}..{}", text, FormatTime(absl::Seconds(min_seconds)),
                           FormatTime(absl::Seconds(max_seconds))));
  }
  return absl::Seconds(*value);
}

std::string FormatTime(absl::Duration time) {
  const int64_t seconds = absl::ToInt64Seconds(time);
  for (const char unit : {'w', 'd', 'h', 'm'}) {
    const int64_t factor = *SecondsOf(unit);
    if (seconds != 0 && seconds % factor == 0) return fmt::format("{}{}", seconds / factor, unit);
  }
  return fmt::format("{}s", seconds);
}

absl::StatusOr<std::vector<std::string>> SplitList(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  int level = 0;
  for (const char c : text) {
    const bool separator = c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (separator && level == 0) {
      if (!word.empty()) out.push_back(std::move(word));
      word.clear();
      continue;
    }
    if (c == '{') ++level;
    if (c == '}' && --level < 0) break;
    word.push_back(c);
  }
  if (level != 0) return Bad(fmt::format("unbalanced {{}} in \"{}\"", text.substr(0, 60)));
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

std::string_view StripBraces(std::string_view text) {
  text = Trim(text);
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return text;
  return Trim(text.substr(1, text.size() - 2));
}

}  // namespace mailrace::engine::config
