// Enhanced status codes, RFC 3463: class.subject.detail.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace {

struct EnhancedStatus {
  uint16_t klass = 0;  // 2, 4 or 5.
  uint16_t subject = 0;
  uint16_t detail = 0;

  // The code that `text` begins with, if it is well formed and followed by a space
  // or the end: one digit of class, up to three each of subject and detail, no
  // leading zeros.
  static std::optional<EnhancedStatus> ParsePrefix(std::string_view text);
  // What a reply says: the code at the start of its text if its class fits the
  // reply code's first digit, else X.0.0 (reliability.md P-08).
  static EnhancedStatus ForReply(int reply_code, std::string_view text);

  std::string ToString() const;
  friend bool operator==(const EnhancedStatus&, const EnhancedStatus&) = default;
};

}  // namespace mailrace
