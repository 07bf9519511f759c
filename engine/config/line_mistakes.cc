#include "engine/config/line_mistakes.h"

#include <fmt/format.h>

#include "engine/config/known_names.h"
#include "engine/config/parameter.h"

namespace mailrace::engine::config {
namespace {

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The first parameter name that stands before a '=' in `value`, outside braces.
std::string_view EmbeddedAssignment(std::string_view value) {
  int level = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    level += value[i] == '{' ? 1 : (value[i] == '}' ? -1 : 0);
    if (value[i] != '=' || level != 0) continue;
    size_t end = i;
    while (end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t')) --end;
    size_t start = end;
    while (start > 0 && IsNameChar(value[start - 1])) --start;
    const bool own_word = start == 0 || value[start - 1] == ' ' || value[start - 1] == '\t';
    const std::string_view name = value.substr(start, end - start);
    if (own_word && (FindParameter(name) != nullptr || IsPostfixName(name))) return name;
  }
  return "";
}

}  // namespace

void ReportLineMistakes(const MainCf& main_cf, Diagnostics* diagnostics) {
  for (const auto& [name, assignment] : main_cf.all()) {
    const bool ours = FindParameter(name) != nullptr;
    const std::string_view embedded = EmbeddedAssignment(assignment.value);
    if (!embedded.empty()) {
      std::string message = fmt::format(
          "looks like several settings on one line: \"{} =\" is part of the value; begin each "
          "setting on a line of its own, at its first column",
          embedded);
      if (ours) {
        diagnostics->Error(assignment.place, name, std::move(message));
      } else {
        diagnostics->Warning(assignment.place, name, std::move(message));
      }
    }
    if (ours && assignment.value.find(" #") != std::string::npos) {
      diagnostics->Warning(assignment.place, name,
                           "\"#\" is part of the value: a comment takes a line of its own");
    }
  }
}

}  // namespace mailrace::engine::config
