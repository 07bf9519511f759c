#include "engine/tables/lookup_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/config/values.h"
#include "engine/tables/inline_table.h"
#include "engine/tables/text_table.h"

namespace mailrace::engine::tables {
namespace {

using config::Diagnostics;

constexpr std::string_view kFileTypes[] = {"hash", "btree", "lmdb", "cdb", "dbm", "texthash"};
constexpr std::string_view kSupported =
    "hash, btree, lmdb, cdb, dbm, texthash (all from their text file), inline and static";

}  // namespace

std::shared_ptr<const LookupTable> LoadTable(std::string_view spec, const TableLoadOptions& options,
                                             Diagnostics* diagnostics) {
  const auto refuse = [&](std::string message) {
    diagnostics->Error(options.place, options.parameter, std::move(message));
    return nullptr;
  };
  // One process: there is nothing to proxy for.
  if (spec.starts_with("proxy:")) spec.remove_prefix(6);
  const size_t colon = spec.find(':');
  if (colon == std::string_view::npos) {
    return refuse(fmt::format("expecting \"type:name\" form instead of \"{}\"",
                              options.credentials ? "..." : spec.substr(0, 80)));
  }
  const std::string_view type = spec.substr(0, colon);
  const std::string_view name = spec.substr(colon + 1);
  if (type == "inline") return MakeInlineTable(name, options, diagnostics);
  if (type == "static") return MakeStaticTable(name, options, diagnostics);
  if (std::find(std::begin(kFileTypes), std::end(kFileTypes), type) == std::end(kFileTypes)) {
    return refuse(fmt::format("unsupported table type \"{}\"; supported are {}", type.substr(0, 40),
                              kSupported));
  }
  if (name.empty()) return refuse(fmt::format("\"{}:\" names no file", type));
  std::string path(name);
  if (path.front() != '/' && !options.directory.empty()) path = options.directory + "/" + path;
  return LoadTextTable(type, path, options, diagnostics);
}

std::shared_ptr<const TableList> TableList::Load(std::string_view specs,
                                                 const TableLoadOptions& options,
                                                 Diagnostics* diagnostics) {
  const absl::StatusOr<std::vector<std::string>> words = config::SplitList(specs);
  if (!words.ok()) {
    diagnostics->Error(options.place, options.parameter, "unbalanced {} in the list of tables");
    return nullptr;
  }
  std::vector<std::shared_ptr<const LookupTable>> tables;
  bool complete = true;
  for (const std::string& word : *words) {
    std::shared_ptr<const LookupTable> table = LoadTable(word, options, diagnostics);
    complete = complete && table != nullptr;
    tables.push_back(std::move(table));
  }
  if (!complete) return nullptr;
  return std::make_shared<const TableList>(std::move(tables));
}

absl::StatusOr<std::optional<TableHit>> TableList::Lookup(std::string_view key) const {
  for (const std::shared_ptr<const LookupTable>& table : tables_) {
    absl::StatusOr<std::optional<TableHit>> hit = table->Lookup(key);
    if (!hit.ok() || hit->has_value()) return hit;
  }
  return std::nullopt;
}

}  // namespace mailrace::engine::tables
