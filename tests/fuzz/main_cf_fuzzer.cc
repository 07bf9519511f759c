// main.cf from the lines to the typed snapshot: either everything that is wrong is said,
// each on one line, or there is a configuration.
#include "engine/config/main_cf.h"

#include "base/address.h"
#include "base/text.h"
#include "engine/config/config.h"
#include "engine/config/logical_lines.h"
#include "engine/config/macros.h"
#include "fuzz_input.h"

namespace mailrace::engine::config {
namespace {

void CheckDiagnostics(const Diagnostics& diagnostics) {
  for (const Diagnostic& diagnostic : diagnostics.all()) {
    const std::string text = diagnostic.ToString();
    FUZZ_CHECK(!diagnostic.message.empty(), text);
    FUZZ_CHECK(text.find_first_of("\r\n") == std::string::npos, text);
  }
}

void CheckLines(const std::string& text) {
  Diagnostics diagnostics;
  const std::vector<LogicalLine> lines = SplitLogicalLines("main.cf", text, "", &diagnostics);
  int last = 0;
  for (const LogicalLine& line : lines) {
    FUZZ_CHECK(line.line > last && line.last >= line.line, text);
    last = line.last;
    FUZZ_CHECK(!line.text.empty() && line.text.size() <= kLogicalLineOctetsMax, text);
    FUZZ_CHECK(line.text.find_first_of(std::string_view("\n\0", 2)) == std::string::npos, text);
    FUZZ_CHECK(IsValidUtf8(line.text), text);
    FUZZ_CHECK(line.text.front() != '#' && line.text.front() != ' ', text);
  }
  FUZZ_CHECK(last <= static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1, text);
}

// What was read, written out and read again, is the same.
void CheckRoundTrip(const MainCf& main_cf, const std::string& text) {
  std::string written;
  for (const auto& [name, assignment] : main_cf.all()) {
    written += name + " = " + assignment.value + "\n";
  }
  Diagnostics diagnostics;
  const MainCf again = MainCf::Parse("again", written, &diagnostics);
  FUZZ_CHECK(!diagnostics.has_errors() && diagnostics.warnings() == 0, text);
  FUZZ_CHECK(again.all().size() == main_cf.all().size(), text);
  for (const auto& [name, assignment] : main_cf.all()) {
    const Assignment* const found = again.Find(name);
    FUZZ_CHECK(found != nullptr && found->value == assignment.value, text);
  }
}

void CheckMacros(const MainCf& main_cf, const std::string& text) {
  const auto lookup = [&main_cf](std::string_view name, bool) -> std::optional<std::string> {
    const Assignment* const assignment = main_cf.Find(name);
    if (assignment == nullptr) return std::nullopt;
    return assignment->value;
  };
  size_t expanded = 0;
  for (const auto& [name, assignment] : main_cf.all()) {
    // Each may cost ten thousand references.
    if (++expanded > 8) break;
    VisitMacroNames(assignment.value, [&](std::string_view used) {
      FUZZ_CHECK(!used.empty() && assignment.value.find(used) != std::string::npos, text);
    });
    const absl::StatusOr<std::string> value = ExpandMacros(assignment.value, lookup);
    if (!value.ok()) {
      FUZZ_CHECK(absl::IsInvalidArgument(value.status()), text);
      FUZZ_CHECK(!value.status().message().empty(), text);
      FUZZ_CHECK(assignment.value.find('$') != std::string::npos, text);
      continue;
    }
    FUZZ_CHECK(value->size() <= 2 * kExpandedOctetsMax, text);
    if (assignment.value.find('$') == std::string::npos) {
      FUZZ_CHECK(*value == assignment.value, text);
    }
  }
}

void CheckLoading(const std::string& text) {
  const LoadEnvironment environment{
      .hostname = "host.example", .processors = 2, .check_files = false};
  Diagnostics diagnostics;
  const std::shared_ptr<const Config> config =
      LoadConfigText("main.cf", text, "/nonexistent", environment, &diagnostics);
  CheckDiagnostics(diagnostics);
  FUZZ_CHECK((config == nullptr) == diagnostics.has_errors(), text);
  if (config == nullptr) return;
  FUZZ_CHECK(config->sasl_passwords && config->tls_per_site && config->tls_policies, text);
  for (const auto& [name, setting] : config->settings) {
    FUZZ_CHECK(!config->Origin(name).empty(), text);
    config->PrintableValue(name);
  }
}

}  // namespace
}  // namespace mailrace::engine::config

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mailrace::engine::config;  // NOLINT: one function.
  const std::string text(reinterpret_cast<const char*>(data), size);
  CheckLines(text);
  Diagnostics diagnostics;
  const MainCf main_cf = MainCf::Parse("main.cf", text, &diagnostics);
  CheckDiagnostics(diagnostics);
  CheckRoundTrip(main_cf, text);
  CheckMacros(main_cf, text);
  CheckLoading(text);
  return 0;
}
