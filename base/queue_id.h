// The name of a queued message: 60 bits, unique for the life of a queue, printed as
// upper-case hexadecimal like Postfix's, so that log tools recognise it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace {

struct QueueId {
  uint64_t value = 0;

  // 15 hexadecimal digits.
  std::string ToString() const;
  static std::optional<QueueId> Parse(std::string_view text);
  friend auto operator<=>(const QueueId&, const QueueId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, QueueId id) {
    return H::combine(std::move(h), id.value);
  }
};

}  // namespace mailrace
