#include "base/enhanced_status.h"

#include "fmt/format.h"

namespace mailrace {

namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// One to three digits without a leading zero, from the front of `text`.
std::optional<uint16_t> TakeNumber(std::string_view& text) {
  size_t n = 0;
  uint16_t value = 0;
  while (n < text.size() && n < 4 && IsDigit(text[n])) {
    value = static_cast<uint16_t>(value * 10 + (text[n] - '0'));
    ++n;
  }
  if (n == 0 || n > 3 || (n > 1 && text[0] == '0')) return std::nullopt;
  text.remove_prefix(n);
  return value;
}

}  // namespace

std::optional<EnhancedStatus> EnhancedStatus::ParsePrefix(std::string_view text) {
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') {
    return std::nullopt;
  }
  EnhancedStatus status;
  status.klass = static_cast<uint16_t>(text[0] - '0');
  text.remove_prefix(2);
  const auto subject = TakeNumber(text);
  if (!subject || text.empty() || text[0] != '.') return std::nullopt;
  text.remove_prefix(1);
  const auto detail = TakeNumber(text);
  if (!detail || (!text.empty() && text[0] != ' ')) return std::nullopt;
  status.subject = *subject;
  status.detail = *detail;
  return status;
}

EnhancedStatus EnhancedStatus::ForReply(int reply_code, std::string_view text) {
  const auto klass = static_cast<uint16_t>(reply_code / 100);
  const auto parsed = ParsePrefix(text);
  if (parsed && parsed->klass == klass) return *parsed;
  return {klass, 0, 0};
}

std::string EnhancedStatus::ToString() const {
  return fmt::format("{}.{}.{}", klass, subject, detail);
}

}  // namespace mailrace
