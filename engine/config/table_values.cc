#include "engine/config/table_values.h"

#include <fmt/format.h>

#include <optional>

#include "base/text.h"

namespace mailrace::engine::config {
namespace {

constexpr size_t kQuotedMax = 80;

}  // namespace

void CheckTableValues(const tables::TableList& tables, const tables::TableLoadOptions& options,
                      const std::function<std::string(std::string_view value)>& problem,
                      Diagnostics* diagnostics) {
  const auto check = [&](const tables::LookupTable& table, std::string_view key) {
    const absl::StatusOr<std::optional<tables::TableHit>> hit = table.Lookup(key);
    if (!hit.ok() || !hit->has_value()) return;
    const std::string wrong = problem((*hit)->value);
    if (wrong.empty()) return;
    // Of a file: where the entry stands. Of a table in main.cf: where that stands.
    const bool in_file = (*hit)->origin.starts_with('/');
    diagnostics->Error(
        in_file ? Place{(*hit)->origin, 0} : options.place, options.parameter,
        fmt::format("{}\"{}\": {}", key.empty() ? "" : fmt::format("{}: ", Printable(key, 80)),
                    Printable((*hit)->value, kQuotedMax), wrong));
  };
  for (const auto& table : tables.tables()) {
    check(*table, "");  // static: has the one value for every key, and no entries.
    table->ForEach([&](std::string_view key, std::string_view) { check(*table, key); });
  }
}

}  // namespace mailrace::engine::config
