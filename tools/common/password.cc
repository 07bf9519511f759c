#include "tools/common/password.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::tools {

absl::StatusOr<std::string> ReadPassword(const std::string& path, const char* variable) {
  if (path.empty()) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return std::string(value);
    return absl::InvalidArgumentError(
        fmt::format("--user needs --password-file or the environment's {}", variable));
  }
  struct stat facts{};
  if (stat(path.c_str(), &facts) != 0) {
    return absl::NotFoundError(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  if (S_ISREG(facts.st_mode) && (facts.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("{}: others may read this password; chmod 600 {}", path, path));
  }
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: the first line is empty", path));
  }
  return line;
}

}  // namespace mailrace::tools
