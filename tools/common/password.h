// Where the programs get their password: never from argv, which every user can read.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace mailrace::tools {

// The first line of `path`, or without a path the environment variable `variable`, which
// only the process's owner can read. Errors: no password at all, a file that others may
// read.
absl::StatusOr<std::string> ReadPassword(const std::string& path, const char* variable);

}  // namespace mailrace::tools
