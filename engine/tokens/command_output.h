// What a command prints, bounded in time and size. Blocks: never on a shard.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::engine::tokens {

// Runs `command` (a path and arguments between blanks; no shell) with nothing on its
// standard input, its errors on ours, in a process group of its own. After `timeout`,
// beyond `octets_max`, or when `stop` says so, the whole group is killed. Unavailable says
// why there is no output, never what was printed.
absl::StatusOr<std::string> CommandOutput(std::string_view command, size_t octets_max,
                                          absl::Duration timeout,
                                          const std::function<bool()>& stop);

}  // namespace mailrace::engine::tokens
