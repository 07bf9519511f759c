// The administrator's line to a running engine: a Unix-domain socket in the queue
// directory, mode 0600: whoever may use the queue's files may use it. One request a
// connection: one JSON object on a line (an import's content follows); the answer is one or
// more JSON lines.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::engine {

// QUEUE_DIRECTORY/control.
std::string ControlSocketPath(std::string_view queue_directory);

// A request says it as "protocol"; without it, it is of version 1. An engine refuses what is
// newer than itself, and a program that is older than the engine hears so: after an upgrade
// the two may differ until the engine is restarted.
inline constexpr int kControlProtocol = 1;

inline constexpr size_t kControlRequestOctetsMax = 1024 * 1024;

// For the command line: sends `request` (one JSON object in a line, without "protocol"), hands
// every line of the answer to `line`, which may stop it by false. Blocks, at most `timeout` without
// progress. NotFound: nobody listens there, the engine is not running.
absl::Status AskEngine(const std::string& queue_directory, std::string_view request,
                       absl::Duration timeout,
                       const std::function<bool(std::string_view line)>& line);

// The same with content behind the request: `content` gives the next piece, nothing at
// its end, an error to give up.
using ContentSource = std::function<absl::StatusOr<std::string_view>()>;
absl::Status SendToEngine(const std::string& queue_directory, std::string_view request,
                          const ContentSource& content, absl::Duration timeout,
                          const std::function<bool(std::string_view line)>& line);

}  // namespace mailrace::engine
