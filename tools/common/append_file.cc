#include "tools/common/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fmt/format.h"

namespace mailrace::tools {

namespace {

absl::Status FileError(const std::string& path) {
  return absl::UnavailableError(fmt::format("{}: {}", path, std::strerror(errno)));
}

absl::Status WriteAll(int fd, const std::string& path, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t written = write(fd, octets.data(), octets.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(path);
    octets.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

AppendFile::~AppendFile() {
  if (fd_ < 0) return;
  Flush().IgnoreError();
  close(fd_);
}

absl::Status AppendFile::Open(const std::string& path) {
  path_ = path;
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return fd_ < 0 ? FileError(path) : absl::OkStatus();
}

absl::Status AppendFile::Append(std::string_view line) {
  if (!status_.ok()) return status_;
  buffer_.append(line);
  buffer_.push_back('\n');
  return buffer_.size() < kBufferOctetsMax ? absl::OkStatus() : Flush();
}

absl::Status AppendFile::Flush() {
  if (status_.ok() && !buffer_.empty()) status_ = WriteAll(fd_, path_, buffer_);
  buffer_.clear();
  return status_;
}

absl::Status WriteFile(const std::string& path, std::string_view octets) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(path);
  absl::Status status = WriteAll(fd, path, octets);
  if (close(fd) != 0 && status.ok()) status = FileError(path);
  return status;
}

}  // namespace mailrace::tools
