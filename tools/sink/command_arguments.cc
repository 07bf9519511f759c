#include "tools/sink/command_arguments.h"

#include "base/text.h"

namespace mailrace::sink {

namespace {

// Where the path's '>' is: not inside a quoted local part (RFC 5321 4.1.2).
size_t PathEnd(std::string_view text) {
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == '>' && !quoted) {
      return i;
    }
  }
  return text.npos;
}

}  // namespace

std::optional<PathArgument> ParsePathArgument(std::string_view argument, std::string_view keyword) {
  if (!StartsWithIgnoreCase(argument, keyword)) return std::nullopt;
  argument = Trim(argument.substr(keyword.size()));
  if (!argument.starts_with('<')) return std::nullopt;
  argument.remove_prefix(1);
  const size_t end = PathEnd(argument);
  if (end == argument.npos) return std::nullopt;
  const std::string_view behind = argument.substr(end + 1);
  if (!behind.empty() && behind.front() != ' ') return std::nullopt;
  return PathArgument{argument.substr(0, end), Trim(behind)};
}

bool NextParameter(std::string_view* parameters, Parameter* parameter) {
  *parameters = Trim(*parameters);
  if (parameters->empty()) return false;
  const std::string_view word = parameters->substr(0, parameters->find(' '));
  parameters->remove_prefix(word.size());
  const size_t equals = word.find('=');
  parameter->key = word.substr(0, equals);
  parameter->value = equals == word.npos ? std::string_view() : word.substr(equals + 1);
  return true;
}

std::optional<ChunkArgument> ParseChunkArgument(std::string_view argument) {
  ChunkArgument chunk;
  const size_t space = argument.find(' ');
  const std::optional<uint64_t> octets = ParseUint(argument.substr(0, space));
  if (!octets) return std::nullopt;
  chunk.octets = *octets;
  if (space != argument.npos) {
    chunk.last = EqualsIgnoreCase(Trim(argument.substr(space)), "LAST");
    if (!chunk.last) return std::nullopt;
  }
  return chunk;
}

}  // namespace mailrace::sink
