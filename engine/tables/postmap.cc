#include "engine/tables/postmap.h"

#include <fmt/format.h>

#include <istream>
#include <optional>
#include <ostream>

#include "base/text.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::tables {
namespace {

constexpr int kUsage = 64;  // EX_USAGE of sysexits.h
constexpr std::string_view kUsageText = "usage: postmap [-q KEY | -q - | -s] [type:]FILE...\n";

struct Arguments {
  std::optional<std::string> query;
  bool list = false;
  std::vector<std::string> tables;
};

std::optional<Arguments> Parse(const std::vector<std::string>& arguments) {
  Arguments out;
  bool options = true;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!options || word == "-" || !word.starts_with('-')) {
      out.tables.push_back(word);
    } else if (word == "--") {
      options = false;
    } else if (word == "-s") {
      out.list = true;
    } else if (word == "-q") {
      if (++i == arguments.size()) return std::nullopt;
      out.query = arguments[i];
    } else if (word.starts_with("-q")) {
      out.query = word.substr(2);
    } else {
      return std::nullopt;
    }
  }
  if (out.tables.empty() || (out.list && out.query)) return std::nullopt;
  return out;
}

// Postmap's errors do not depend on what the table is for.
std::shared_ptr<const TableList> Load(const std::vector<std::string>& specs, std::ostream& err) {
  config::Diagnostics diagnostics;
  std::vector<std::shared_ptr<const LookupTable>> tables;
  for (const std::string& spec : specs) {
    const size_t colon = spec.find(':');
    const bool typed = colon != std::string::npos && spec.find('/') > colon;
    tables.push_back(LoadTable(typed ? spec : "hash:" + spec, {}, &diagnostics));
  }
  err << diagnostics.ToString();
  if (diagnostics.has_errors()) return nullptr;
  return std::make_shared<const TableList>(std::move(tables));
}

bool Print(const TableList& tables, std::string_view key, bool with_key, std::ostream& out) {
  const absl::StatusOr<std::optional<TableHit>> hit = tables.Lookup(key);
  if (!hit.ok() || !hit->has_value()) return false;
  if (with_key) out << key << '\t';
  out << (*hit)->value << '\n';
  return true;
}

// At least one key found is success, as in postmap.
int QueryEach(const TableList& tables, std::istream& in, std::ostream& out) {
  bool found = false;
  for (std::string line; std::getline(in, line);) {
    const std::string_view key = Trim(line);
    if (!key.empty() && Print(tables, key, true, out)) found = true;
  }
  return found ? 0 : 1;
}

}  // namespace

int Postmap(const std::vector<std::string>& arguments, std::istream& in, std::ostream& out,
            std::ostream& err) {
  const std::optional<Arguments> parsed = Parse(arguments);
  if (!parsed) {
    err << kUsageText;
    return kUsage;
  }
  const std::shared_ptr<const TableList> tables = Load(parsed->tables, err);
  if (tables == nullptr) return 1;
  if (parsed->list) {
    for (const auto& table : tables->tables()) {
      table->ForEach([&](std::string_view key, std::string_view value) {
        out << key << '\t' << value << '\n';
      });
    }
    return 0;
  }
  if (!parsed->query) return 0;
  if (*parsed->query == "-") return QueryEach(*tables, in, out);
  return Print(*tables, *parsed->query, false, out) ? 0 : 1;
}

}  // namespace mailrace::engine::tables
