#include "engine/config/reload.h"

#include <fmt/format.h>

#include "base/text.h"
#include "engine/config/parameter.h"

namespace mailrace::engine::config {

namespace {

std::string Shown(const std::string& value) {
  return value.empty() ? "empty" : fmt::format("\"{}\"", Printable(value, 200));
}

}  // namespace

std::shared_ptr<const Config> KeepStartParameters(const Config& running, const Config& fresh,
                                                  Diagnostics* diagnostics) {
  auto config = std::make_shared<Config>(fresh);
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.reloadable) continue;
      const auto now = running.settings.find(parameter.name);
      Setting& wanted = config->settings[std::string(parameter.name)];
      if (now == running.settings.end() || now->second.value == wanted.value) continue;
      diagnostics->Warning(
          wanted.place, parameter.name,
          fmt::format("a change to {} takes effect at the next start; until then it is {}",
                      Shown(wanted.value), Shown(now->second.value)));
      wanted.value = now->second.value;
      // It was valid when the process started with it.
      parameter.Set(wanted.value, &config->options).IgnoreError();
    }
  }
  // What 0 stands for was counted at start.
  config->options.general.engine_shards = running.options.general.engine_shards;
  return config;
}

}  // namespace mailrace::engine::config
