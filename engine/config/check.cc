#include "engine/config/check.h"

#include <fmt/format.h>

#include <ostream>

namespace mailrace::engine::config {

int CheckConfig(const std::string& directory, const LoadEnvironment& environment,
                const CheckOptions& options, std::ostream& out,
                std::shared_ptr<const Config>* loaded) {
  Diagnostics diagnostics;
  const std::shared_ptr<const Config> config = LoadConfig(directory, environment, &diagnostics);
  out << diagnostics.ToString(options.notes);
  if (config != nullptr && options.settings) PrintSettings(*config, true, out);
  const auto count = [](size_t n, std::string_view word) {
    return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s");
  };
  out << fmt::format("{}/main.cf: {}, {}{}\n", directory, count(diagnostics.errors(), "error"),
                     count(diagnostics.warnings(), "warning"), config != nullptr ? ": ok" : "");
  if (loaded != nullptr) *loaded = config;
  return config != nullptr ? 0 : 1;
}

void PrintSettings(const Config& config, bool only_assigned, std::ostream& out) {
  for (const auto& [name, setting] : config.settings) {
    if (only_assigned && setting.place.file.empty()) continue;
    out << fmt::format("{} = {}    # {}\n", name, config.PrintableValue(name),
                       setting.place.ToString());
  }
}

}  // namespace mailrace::engine::config
