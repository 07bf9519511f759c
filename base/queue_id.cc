#include "base/queue_id.h"

#include <charconv>

#include "fmt/format.h"

namespace mailrace {

std::string QueueId::ToString() const { return fmt::format("{:015X}", value); }

std::optional<QueueId> QueueId::Parse(std::string_view text) {
  QueueId id;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id.value, 16);
  if (text.empty() || text.size() > 16 || error != std::errc() ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  return id;
}

}  // namespace mailrace
