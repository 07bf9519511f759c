#include <cstdio>
#include <cstdlib>

#include "engine/config/config.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

std::string DefaultDirectory() {
  const char* directory = std::getenv("MAIL_CONFIG");
  return directory != nullptr && *directory != '\0' ? directory : "/etc/mailrace";
}

std::string QueueDirectoryOf(const std::string& directory) {
  engine::config::Diagnostics diagnostics;
  engine::config::LoadEnvironment environment;
  // Asking a running engine needs no certificates.
  environment.check_files = false;
  const auto config = engine::config::LoadConfig(directory, environment, &diagnostics);
  if (config == nullptr) {
    std::fputs(diagnostics.ToString(false).c_str(), stderr);
    return {};
  }
  return config->options.general.queue_directory;
}

}  // namespace mailrace::tools
