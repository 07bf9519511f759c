// `mailrace check`: every error of a configuration at once; with --live, whether it works.
#include <iostream>

#include "engine/config/check.h"
#include "engine/settings_from_config.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

int Check(const CheckArguments& arguments) {
  engine::config::LoadEnvironment environment;
  environment.overrides = arguments.overrides;
  engine::config::Diagnostics diagnostics;
  const auto config = engine::config::LoadConfig(arguments.directory, environment, &diagnostics);
  // What only shows when it is used: certificates and keys that do not fit.
  std::shared_ptr<const engine::Settings> settings;
  if (config != nullptr) settings = engine::SettingsFromConfig(config, 1, &diagnostics);
  std::cerr << diagnostics.ToString(true);
  if (diagnostics.has_errors()) {
    std::cerr << "mailrace: " << diagnostics.errors() << " errors, " << diagnostics.warnings()
              << " warnings\n";
    return 78;
  }
  std::cout << arguments.directory << ": configuration is good";
  if (diagnostics.warnings() > 0) std::cout << ", " << diagnostics.warnings() << " warnings";
  std::cout << std::endl;
  return arguments.live ? CheckLive(config, settings, arguments) : 0;
}

}  // namespace mailrace::tools
