// The arguments of MAIL, RCPT and BDAT, as far as a sink looks at them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mailrace::sink {

struct PathArgument {
  std::string_view path;        // Without the angle brackets.
  std::string_view parameters;  // What follows, without spaces in front.
};

// "FROM:<path> parameters" with `keyword` "FROM:" or "TO:", in any case; a space behind
// the colon passes. Nothing if it is no such thing.
std::optional<PathArgument> ParsePathArgument(std::string_view argument, std::string_view keyword);

// Takes the next "KEY=value" off the front; false at the end.
struct Parameter {
  std::string_view key;
  std::string_view value;
};
bool NextParameter(std::string_view* parameters, Parameter* parameter);

struct ChunkArgument {
  uint64_t octets = 0;
  bool last = false;
};
// "86 LAST" (RFC 3030 2). Nothing if it is no such thing.
std::optional<ChunkArgument> ParseChunkArgument(std::string_view argument);

}  // namespace mailrace::sink
