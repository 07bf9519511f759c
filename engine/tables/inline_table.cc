#include "engine/tables/inline_table.h"

#include <fmt/format.h>

#include "base/text.h"
#include "engine/config/values.h"
#include "engine/tables/memory_table.h"
#include "engine/tables/text_table.h"

namespace mailrace::engine::tables {
namespace {

using config::Diagnostics;

class StaticTable final : public LookupTable {
 public:
  explicit StaticTable(std::string value) : value_(std::move(value)) {}
  absl::StatusOr<std::optional<TableHit>> Lookup(std::string_view) const override {
    return TableHit{value_, name_};
  }
  const std::string& name() const override { return name_; }
  void ForEach(const std::function<void(std::string_view, std::string_view)>&) const override {}

 private:
  std::string value_;
  std::string name_ = "static:{...}";
};

std::string Problem(std::string_view entry, const TableLoadOptions& options, MemoryTable* table) {
  const size_t equals = entry.find('=');
  if (equals == std::string_view::npos) return "missing '=' after attribute name";
  const std::string_view key = Trim(entry.substr(0, equals));
  const std::string_view value = Trim(entry.substr(equals + 1));
  if (key.empty()) return "missing attribute name";
  if (options.credentials) {
    const std::string problem = CheckCredential(value, options.delimiter);
    if (!problem.empty()) return fmt::format("credential for \"{}\": {}", key, problem);
  }
  // Unlike in files the last one counts, as Postfix has it, so duplicates are refused
  // rather than guessed.
  if (!table->Add(key, value, options.place.line)) return fmt::format("duplicate key \"{}\"", key);
  return "";
}

}  // namespace

std::shared_ptr<const LookupTable> MakeInlineTable(std::string_view text,
                                                   const TableLoadOptions& options,
                                                   Diagnostics* diagnostics) {
  const auto refuse = [&](std::string_view problem) {
    diagnostics->Error(options.place, options.parameter,
                       fmt::format("bad inline table: {}; need inline:{{ key=value, {{ key = text "
                                   "}} ... }}",
                                   problem));
    return nullptr;
  };
  text = Trim(text);
  if (!text.starts_with('{') || !text.ends_with('}')) return refuse("missing braces");
  const absl::StatusOr<std::vector<std::string>> entries =
      config::SplitList(config::StripBraces(text));
  // The status would quote the text, and with it maybe a password.
  if (!entries.ok()) return refuse("unbalanced {}");
  if (entries->empty()) return refuse("empty table");
  auto table = std::make_shared<MemoryTable>(
      options.place.file.empty() ? "inline:{...}"
                                 : fmt::format("inline:{{...}} at {}", options.place.ToString()),
      "");
  for (const std::string& entry : *entries) {
    const std::string problem = Problem(config::StripBraces(entry), options, table.get());
    if (!problem.empty()) return refuse(problem);
  }
  return table;
}

std::shared_ptr<const LookupTable> MakeStaticTable(std::string_view text,
                                                   const TableLoadOptions& options,
                                                   Diagnostics* diagnostics) {
  std::string value(config::StripBraces(text));
  if (options.credentials) {
    const std::string problem = CheckCredential(value, options.delimiter);
    if (!problem.empty()) {
      diagnostics->Error(options.place, options.parameter, fmt::format("static: {}", problem));
      return nullptr;
    }
  }
  return std::make_shared<StaticTable>(std::move(value));
}

}  // namespace mailrace::engine::tables
