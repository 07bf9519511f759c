#include "engine/config/main_cf.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/config/logical_lines.h"

namespace mailrace::engine::config {

MainCf MainCf::Parse(std::string_view file, std::string_view text, Diagnostics* diagnostics) {
  MainCf out;
  for (const LogicalLine& line : SplitLogicalLines(file, text, "", diagnostics)) {
    const Place place{std::string(file), line.line};
    const std::string problem = out.Assign(line.text, place, diagnostics);
    if (!problem.empty()) diagnostics->Error(place, "", problem);
  }
  return out;
}

void MainCf::Override(std::string_view assignment, Diagnostics* diagnostics) {
  const Place place{"command line", 0};
  const std::string problem = Assign(assignment, place, nullptr);
  if (!problem.empty()) diagnostics->Error(place, "", problem);
}

std::string MainCf::Assign(std::string_view text, Place place, Diagnostics* diagnostics) {
  const size_t equals = text.find('=');
  const std::string_view name = Trim(text.substr(0, equals));
  // As Postfix splits: a name is one word, whatever its characters.
  if (equals == std::string_view::npos || name.find_first_of(" \t") != std::string_view::npos) {
    // The first word only: the rest may be a password that belongs into a table.
    return fmt::format("missing '=' after attribute name: \"{}\"",
                       name.substr(0, std::min(name.find_first_of(" \t"), size_t{60})));
  }
  if (name.empty()) return "missing attribute name before '='";
  const auto existing = assignments_.find(name);
  if (existing != assignments_.end() && diagnostics != nullptr) {
    // Without the values: one may hold a password.
    diagnostics->Warning(
        place, name,
        fmt::format("overriding the earlier entry at line {}", existing->second.place.line));
  }
  assignments_.insert_or_assign(std::string(name),
                                Assignment{std::string(Trim(text.substr(equals + 1))), place});
  return "";
}

const Assignment* MainCf::Find(std::string_view name) const {
  const auto it = assignments_.find(name);
  return it == assignments_.end() ? nullptr : &it->second;
}

}  // namespace mailrace::engine::config
