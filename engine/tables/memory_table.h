// A table held in memory: what file and inline tables become once read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::tables {

class MemoryTable final : public LookupTable {
 public:
  // `file` is empty for tables that are written in main.cf.
  MemoryTable(std::string name, std::string file)
      : name_(std::move(name)), file_(std::move(file)) {}

  // False if the key (folded) is there already: the first one stays.
  bool Add(std::string_view key, std::string_view value, int line);

  absl::StatusOr<std::optional<TableHit>> Lookup(std::string_view key) const override;
  const std::string& name() const override { return name_; }
  void ForEach(const std::function<void(std::string_view, std::string_view)>& visit) const override;
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;  // Folded.
    std::string value;
    int line = 0;
  };
  std::string name_;
  std::string file_;
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, uint32_t> index_;
};

}  // namespace mailrace::engine::tables
