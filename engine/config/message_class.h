// The words of classes and tenants, as main.cf, its tables, header fields and commands
// have them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mailrace::engine::config {

// "urgent" 0, "normal" 1, "bulk" 2 (queue/job.h), in any case.
std::optional<uint8_t> ParseMessageClass(std::string_view word);
// REQUIRES: priority <= 2; what is above counts as 2.
std::string_view MessageClassName(uint8_t priority);

// A tenant's name is 1 to 64 printable ASCII characters without blanks, compared without
// case: the result is in lower case.
inline constexpr size_t kTenantOctetsMax = 64;
std::optional<std::string> ParseTenant(std::string_view name);

// 1 to 1000.
std::optional<uint32_t> ParseTenantWeight(std::string_view number);

}  // namespace mailrace::engine::config
