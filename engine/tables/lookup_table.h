// Lookup tables: one interface for every type. A table is loaded whole, then immutable:
// shards share it by shared_ptr<const …>, and a reload makes a new one, so that a broken
// file leaves the old one in use.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config/diagnostics.h"

namespace mailrace::engine::tables {

// What a lookup found. `value` may be a secret: never log it. `origin` may be logged:
// "/etc/mailrace/saslpw:3", "static:…" without its value.
struct TableHit {
  std::string value;
  std::string origin;
};

// Thread-safe: const after loading.
class LookupTable {
 public:
  virtual ~LookupTable() = default;
  // Keys are compared without case, as Postfix folds them for hash and its kin. No
  // value: not there. Error (Unavailable): the table cannot answer now.
  virtual absl::StatusOr<std::optional<TableHit>> Lookup(std::string_view key) const = 0;
  // For messages: "hash:/etc/mailrace/saslpw"; without values for static: and inline:.
  virtual const std::string& name() const = 0;
  // Every entry in the file's order; for `postmap -s`. static: has none.
  virtual void ForEach(
      const std::function<void(std::string_view key, std::string_view value)>& visit) const = 0;
};

struct TableLoadOptions {
  std::string parameter;     // For messages: which parameter wants the table.
  config::Place place;       // Where that parameter is set.
  std::string directory;     // Relative paths of tables start here; empty: as they are.
  bool credentials = false;  // Values are user and password: stricter rules, no values in messages.
  bool check_file_safety = true;  // With credentials: refuse files that others can read or replace.
  // With credentials: between user and password. Empty: the value is a password alone.
  std::string delimiter = ":";
};

// A table file of more than this is refused rather than loaded.
inline constexpr size_t kTableFileOctetsMax = 64 << 20;

// One table, "type:name". Null after errors, all of which are in *diagnostics with file
// and line. Blocks on files: never on a shard.
std::shared_ptr<const LookupTable> LoadTable(std::string_view spec, const TableLoadOptions& options,
                                             config::Diagnostics* diagnostics);

// Tables in the order to search, as a parameter lists them: between commas or white
// space, braces respected. Immutable and thread-safe like its tables.
class TableList {
 public:
  // Null if any table had an error: never a partial list.
  static std::shared_ptr<const TableList> Load(std::string_view specs,
                                               const TableLoadOptions& options,
                                               config::Diagnostics* diagnostics);
  // For tests and callers with tables of their own.
  explicit TableList(std::vector<std::shared_ptr<const LookupTable>> tables)
      : tables_(std::move(tables)) {}

  // The first table that has the key answers; an error ends the search.
  absl::StatusOr<std::optional<TableHit>> Lookup(std::string_view key) const;
  bool empty() const { return tables_.empty(); }
  const std::vector<std::shared_ptr<const LookupTable>>& tables() const { return tables_; }

 private:
  std::vector<std::shared_ptr<const LookupTable>> tables_;
};

}  // namespace mailrace::engine::tables
