#include "engine/tables/text_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "engine/config/logical_lines.h"
#include "engine/tables/file_safety.h"
#include "engine/tables/memory_table.h"

namespace mailrace::engine::tables {
namespace {

using config::Diagnostics;
using config::LogicalLine;
using config::Place;

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

// The end of the key: the first white space outside double quotes. Nothing: a quote has no
// partner.
std::optional<size_t> KeyLength(std::string_view line) {
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && IsSpace(line[i])) {
      return i;
    }
  }
  if (quoted) return std::nullopt;
  return line.size();
}

void AddEntry(const LogicalLine& line, const Place& place, const TableLoadOptions& options,
              MemoryTable* table, Diagnostics* diagnostics) {
  const std::string_view text = line.text;
  const std::optional<size_t> length = KeyLength(text);
  if (!length) {
    // What was taken for its key may hold a password, so that none of it is told.
    diagnostics->Warning(place, options.parameter,
                         "unbalanced '\"' in the key -- this line is ignored, as by postmap");
    return;
  }
  const std::string_view key = text.substr(0, *length);
  const std::string_view value = Trim(text.substr(*length));
  if (key.empty() || value.empty()) {
    diagnostics->Error(place, options.parameter, "expected format: key whitespace value");
    return;
  }
  if (key.ends_with(':')) {
    diagnostics->Warning(place, options.parameter,
                         "record is in \"key: value\" format; is this an alias file?");
  }
  if (options.credentials) {
    const std::string problem = CheckCredential(value, options.delimiter);
    if (!problem.empty()) {
      diagnostics->Error(place, options.parameter,
                         fmt::format("credential for \"{}\": {}", key.substr(0, 100), problem));
      return;
    }
  }
  if (!table->Add(key, value, line.line)) {
    diagnostics->Warning(
        place, options.parameter,
        fmt::format("duplicate entry: \"{}\" -- the first one counts", key.substr(0, 100)));
  }
}

std::string OpenProblem(const std::string& path, int error) {
  std::string out = fmt::format("cannot open {}: {}", path, std::strerror(error));
  if (error != ENOENT) return out;
  struct stat st;
  for (const char* suffix : {".db", ".lmdb", ".cdb", ".pag"}) {
    if (stat((path + suffix).c_str(), &st) == 0) {
      return out + fmt::format(" ({}{} is there, but the text it was made from is what is read)",
                               path, suffix);
    }
  }
  return out;
}

}  // namespace

std::string CheckCredential(std::string_view value, std::string_view delimiter) {
  if (value.find('\0') != std::string_view::npos) return "NUL octet in user or password";
  if (value.find_first_of("\r\n") != std::string_view::npos) {
    return "line break in user or password";
  }
  if (delimiter.empty()) return value.empty() ? "the password is empty" : "";
  // The delimiter alone: whom the client certificate names (EXTERNAL).
  if (value.substr(0, value.find(delimiter)).empty() && value != delimiter) {
    return "the user name is empty";
  }
  return "";
}

std::shared_ptr<const LookupTable> ParseTextTable(std::string_view name, std::string_view file,
                                                  std::string_view text,
                                                  const TableLoadOptions& options,
                                                  Diagnostics* diagnostics) {
  // Own list, so that an error of another table does not spoil this one.
  Diagnostics found;
  auto table = std::make_shared<MemoryTable>(std::string(name), std::string(file));
  for (const LogicalLine& line : config::SplitLogicalLines(file, text, options.parameter, &found)) {
    AddEntry(line, {std::string(file), line.line}, options, table.get(), &found);
  }
  diagnostics->Append(found);
  if (found.has_errors()) return nullptr;
  return table;
}

std::shared_ptr<const LookupTable> LoadTextTable(std::string_view type, const std::string& path,
                                                 const TableLoadOptions& options,
                                                 Diagnostics* diagnostics) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    diagnostics->Error(options.place, options.parameter, OpenProblem(path, errno));
    return nullptr;
  }
  absl::StatusOr<std::string> text = config::ReadDescriptor(fd, path, kTableFileOctetsMax);
  const absl::Status safe = options.credentials && options.check_file_safety && text.ok()
                                ? CheckSecretFile(fd, path)
                                : absl::OkStatus();
  close(fd);
  if (!text.ok()) {
    diagnostics->Error(options.place, options.parameter, std::string(text.status().message()));
    return nullptr;
  }
  if (!safe.ok()) {
    diagnostics->Error({path, 0}, options.parameter,
                       fmt::format("{} (sasl_password_file_check = no would accept it)",
                                   std::string(safe.message())));
    return nullptr;
  }
  return ParseTextTable(fmt::format("{}:{}", type, path), path, *text, options, diagnostics);
}

}  // namespace mailrace::engine::tables
