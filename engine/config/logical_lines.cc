#include "engine/config/logical_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/address.h"

namespace mailrace::engine::config {
namespace {

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

// Empty, all white space, or a comment.
bool Ignorable(std::string_view line) {
  for (const char c : line) {
    if (!IsSpace(c)) return c == '#';
  }
  return true;
}

class Splitter {
 public:
  Splitter(std::string_view file, std::string_view parameter, Diagnostics* diagnostics)
      : file_(file), parameter_(parameter), diagnostics_(diagnostics) {}

  void Line(std::string_view line, int number) {
    if (Ignorable(line)) return;
    const bool continuation = IsSpace(line.front());
    if (!continuation) {
      Finish();
      open_ = true;
      current_.line = number;
    } else if (!open_) {
      // Postfix warns and goes on; what follows it is its own line again.
      diagnostics_->Warning({file_, number}, parameter_,
                            "logical line must not start with whitespace -- ignoring this line");
      return;
    }
    current_.last = number;
    if (bad_) return;
    if (Refused(line, number)) {
      bad_ = true;
      current_.text.clear();
      return;
    }
    current_.text += line;
  }

  void Finish() {
    if (open_ && !bad_) lines_.push_back(std::move(current_));
    open_ = bad_ = false;
    current_ = {};
  }

  std::vector<LogicalLine> Take() { return std::move(lines_); }

 private:
  bool Refused(std::string_view line, int number) {
    if (current_.text.size() + line.size() > kLogicalLineOctetsMax) {
      diagnostics_->Error({file_, number}, parameter_,
                          fmt::format("line longer than {} octets", kLogicalLineOctetsMax));
      return true;
    }
    if (line.find('\0') != std::string_view::npos) {
      diagnostics_->Error({file_, number}, parameter_, "NUL octet in the text");
      return true;
    }
    if (!IsValidUtf8(line)) {
      diagnostics_->Error({file_, number}, parameter_, "text is not UTF-8");
      return true;
    }
    return false;
  }

  std::string file_;
  std::string parameter_;
  Diagnostics* diagnostics_;
  LogicalLine current_;
  bool open_ = false;
  bool bad_ = false;
  std::vector<LogicalLine> lines_;
};

absl::Status FileError(const std::string& path, int error) {
  const std::string text = fmt::format("cannot read {}: {}", path, std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(text);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(text);
  return absl::UnavailableError(text);
}

}  // namespace

std::vector<LogicalLine> SplitLogicalLines(std::string_view file, std::string_view text,
                                           std::string_view parameter, Diagnostics* diagnostics) {
  Splitter splitter(file, parameter, diagnostics);
  int number = 0;
  // Editors of another system put it there; it would make the first name another one.
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
    diagnostics->Warning({std::string(file), 1}, parameter, "byte order mark ignored");
  }
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    splitter.Line(line, number);
  }
  splitter.Finish();
  return splitter.Take();
}

absl::StatusOr<std::string> ReadDescriptor(int fd, const std::string& path, size_t octets_max) {
  struct stat st;
  if (fstat(fd, &st) != 0) return FileError(path, errno);
  if (!S_ISREG(st.st_mode)) {
    return absl::FailedPreconditionError(fmt::format("{} is not a regular file", path));
  }
  std::string out;
  char block[16384];
  for (;;) {
    const ssize_t n = read(fd, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(path, errno);
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > octets_max) {
      return absl::ResourceExhaustedError(
          fmt::format("{} is larger than {} octets", path, octets_max));
    }
    out.append(block, static_cast<size_t>(n));
  }
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t octets_max) {
  // O_NONBLOCK: opening a FIFO by mistake must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(path, errno);
  absl::StatusOr<std::string> text = ReadDescriptor(fd, path, octets_max);
  close(fd);
  return text;
}

}  // namespace mailrace::engine::config
