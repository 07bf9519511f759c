// The administrator's line to a running engine: a Unix-domain socket in the queue
// directory, mode 0600, one JSON object a request, one or more JSON lines an answer.
#pragma once

#include <string>
#include <string_view>

#include <functional>
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace mailrace::engine {

// QUEUE_DIRECTORY/control.
std::string ControlSocketPath(std::string_view queue_directory);

inline constexpr size_t kControlRequestOctetsMax = 64 * 1024;

// For the command line: sends `request` (one JSON line), hands every line of the answer
// to `line`. Blocks, at most `timeout` without progress. NotFound: nobody listens there,
// the engine is not running.
absl::Status AskEngine(const std::string& queue_directory, std::string_view request,
                       absl::Duration timeout,
                       const std::function<void(std::string_view line)>& line);

}  // namespace mailrace::engine
