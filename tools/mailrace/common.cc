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
  // Not the whole configuration: while it is broken the engine goes on with the one before,
  // and has to be reachable.
  const absl::StatusOr<std::string> value =
      engine::config::LoadSetting(directory, "queue_directory", {});
  if (value.ok()) return *value;
  std::fprintf(stderr, "mailrace: %s\n", std::string(value.status().message()).c_str());
  return {};
}

}  // namespace mailrace::tools
