// May this file hold passwords? Only if nobody but its owner (root or the running user)
// can read it, and nobody else can replace it or a directory on the way to it.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace mailrace::engine::tables {

// `fd` is the open file, `path` the way it was opened. FailedPrecondition names what is
// wrong and the command that mends it.
absl::Status CheckSecretFile(int fd, const std::string& path);

}  // namespace mailrace::engine::tables
