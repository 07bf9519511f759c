#include "engine/tables/memory_table.h"

#include <fmt/format.h>

#include "base/text.h"

namespace mailrace::engine::tables {

bool MemoryTable::Add(std::string_view key, std::string_view value, int line) {
  std::string folded = AsciiLowered(key);
  if (!index_.emplace(folded, static_cast<uint32_t>(entries_.size())).second) return false;
  entries_.push_back({std::move(folded), std::string(value), line});
  return true;
}

absl::StatusOr<std::optional<TableHit>> MemoryTable::Lookup(std::string_view key) const {
  const auto it = index_.find(AsciiLowered(key));
  if (it == index_.end()) return std::nullopt;
  const Entry& entry = entries_[it->second];
  return TableHit{entry.value, file_.empty() ? name_ : fmt::format("{}:{}", file_, entry.line)};
}

void MemoryTable::ForEach(
    const std::function<void(std::string_view, std::string_view)>& visit) const {
  for (const Entry& entry : entries_) visit(entry.key, entry.value);
}

}  // namespace mailrace::engine::tables
