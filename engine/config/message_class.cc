#include "engine/config/message_class.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace mailrace::engine::config {

namespace {

constexpr std::array<std::string_view, 3> kNames = {"urgent", "normal", "bulk"};
constexpr uint64_t kWeightMax = 1000;

}  // namespace

std::optional<uint8_t> ParseMessageClass(std::string_view word) {
  for (uint8_t priority = 0; priority < kNames.size(); ++priority) {
    if (EqualsIgnoreCase(word, kNames[priority])) return priority;
  }
  return std::nullopt;
}

std::string_view MessageClassName(uint8_t priority) {
  return kNames[std::min<size_t>(priority, kNames.size() - 1)];
}

std::optional<std::string> ParseTenant(std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= kTenantOctetsMax &&
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!good) return std::nullopt;
  return AsciiLowered(name);
}

std::optional<uint32_t> ParseTenantWeight(std::string_view number) {
  const std::optional<uint64_t> weight = ParseUint(number);
  if (!weight || *weight < 1 || *weight > kWeightMax) return std::nullopt;
  return static_cast<uint32_t>(*weight);
}

}  // namespace mailrace::engine::config
