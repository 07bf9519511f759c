// The line syntax that main.cf and lookup tables share (postconf(5), postmap(1)).
//
//   logical-line = text-line *( comment-line / empty-line / continuation )
//   text-line    = a line that begins with something other than white space or '#'
//   continuation = a line that begins with white space
//   comment-line = [white space] '#' anything; may stand between continuations
//
// There are no trailing comments. A lone continuation at the top has nothing to
// continue: it is reported and left out, as Postfix does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/diagnostics.h"

namespace mailrace::engine::config {

struct LogicalLine {
  std::string text;  // Physical lines joined as they stand, without their ends.
  int line = 0;      // Number of the first physical line, from 1.
  int last = 0;      // Number of the last one that contributed text.
};

// Longer lines are an error, not a buffer: 64 KiB is far beyond any honest one.
inline constexpr size_t kLogicalLineOctetsMax = 64 << 10;

// Splits `text`. NUL, text that is not UTF-8 and over-long lines are errors at their
// line in *diagnostics (under `parameter`), and the line is left out. CRLF ends count as
// line ends.
std::vector<LogicalLine> SplitLogicalLines(std::string_view file, std::string_view text,
                                           std::string_view parameter, Diagnostics* diagnostics);

// The whole of a regular file of at most `octets_max`. Errors say which file and why
// (NotFound, PermissionDenied, ResourceExhausted: too large, FailedPrecondition: not a
// regular file, Unavailable: reading failed). Blocks: never on a shard.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t octets_max);
// The same from an open descriptor, which stays open.
absl::StatusOr<std::string> ReadDescriptor(int fd, const std::string& path, size_t octets_max);

}  // namespace mailrace::engine::config
