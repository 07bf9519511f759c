// A file that lines are appended to: records of the sink, the ledger of the blast.
// Buffered; a failure is kept and everything after it fails too, so that the file never
// has a gap that nobody knows of. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace mailrace::tools {

class AppendFile {
 public:
  AppendFile() = default;
  // Writes what is buffered; who wants to hear of a failure calls Flush() before.
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // Creates the file or goes on at its end. Errors name the path.
  absl::Status Open(const std::string& path);
  bool is_open() const { return fd_ >= 0; }

  // `line` without its end. Written out when 64 KiB have come together.
  absl::Status Append(std::string_view line);
  // Hands all to the operating system: it survives the death of this process, not of
  // the machine.
  absl::Status Flush();
  const absl::Status& status() const { return status_; }

 private:
  static constexpr size_t kBufferOctetsMax = 64 * 1024;

  int fd_ = -1;
  std::string path_;
  std::string buffer_;
  absl::Status status_;
};

// Writes a whole file of its own (an existing one is replaced). Errors name the path.
absl::Status WriteFile(const std::string& path, std::string_view octets);

}  // namespace mailrace::tools
