#include "engine/logs/log_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace mailrace::logs {
namespace {

// POSIX: a pipe that polls writable takes this much without blocking.
constexpr size_t kPipeChunkOctets = 4096;
constexpr int kStallMillis = 1000;

// Gathers lines and writes them with few system calls.
class BufferedSink : public LogSink {
 public:
  explicit BufferedSink(TraditionalStamp stamp) : stamp_(std::move(stamp)) {}

  void Append(const LogRecord& record) override {
    pending_ += stamp_.At(record.time);
    pending_ += record.text;
    pending_ += '\n';
  }

 protected:
  // Takes all that was gathered.
  std::string TakePending() { return std::exchange(pending_, std::string()); }

  // Writes `text`; counts as lost every line of which a part is missing. `chunk` bounds
  // one write; with `poll_first` it is preceded by a wait for the reader.
  void WriteLines(int fd, std::string_view text, size_t chunk, bool poll_first) {
    if (cut_line_ && !text.empty() && write(fd, "\n", 1) == 1) cut_line_ = false;
    size_t done = 0;
    while (done < text.size()) {
      if (poll_first && !WaitWritable(fd)) break;
      const ssize_t n = write(fd, text.data() + done, std::min(chunk, text.size() - done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    if (done == text.size()) return;
    if (done > 0) cut_line_ = text[done - 1] != '\n';
    CountLost(static_cast<uint64_t>(std::count(text.begin() + done, text.end(), '\n')));
  }

 private:
  bool WaitWritable(int fd) {
    pollfd ready{fd, POLLOUT, 0};
    int n = poll(&ready, 1, waiting() ? kStallMillis : 0);
    while (n < 0 && errno == EINTR) n = poll(&ready, 1, 0);
    return n > 0 && (ready.revents & POLLOUT) != 0;
  }

  TraditionalStamp stamp_;
  std::string pending_;
  bool cut_line_ = false;
};

class FileSink final : public BufferedSink {
 public:
  FileSink(std::string path, int fd, TraditionalStamp stamp)
      : BufferedSink(std::move(stamp)), path_(std::move(path)), fd_(fd) {}
  ~FileSink() override {
    if (fd_ >= 0) close(fd_);
  }

  static int Open(const std::string& path) {
    return open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  }

  void Flush() override {
    const std::string lines = TakePending();
    if (!lines.empty()) WriteLines(fd_, lines, lines.size(), /*poll_first=*/false);
  }

  void Reopen() override {
    Flush();
    const int fd = Open(path_);
    if (fd < 0) return;  // The old file is better than none.
    close(fd_);
    fd_ = fd;
  }

 private:
  const std::string path_;
  int fd_;
};

class DescriptorSink final : public BufferedSink {
 public:
  DescriptorSink(int fd, TraditionalStamp stamp) : BufferedSink(std::move(stamp)), fd_(fd) {}
  void Flush() override {
    const std::string lines = TakePending();
    WriteLines(fd_, lines, kPipeChunkOctets, /*poll_first=*/true);
  }
  void Reopen() override {}

 private:
  const int fd_;
};

}  // namespace

std::string_view TraditionalStamp::At(absl::Time time) {
  const int64_t second = absl::ToUnixSeconds(time);
  if (second != second_) {
    second_ = second;
    // %e pads with a space, as RFC 3164 4.1.2 has it.
    text_ = absl::FormatTime("%b %e %H:%M:%S ", time, zone_) + host_;
    if (!host_.empty()) text_ += ' ';
  }
  return text_;
}

absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path,
                                                      TraditionalStamp stamp) {
  const int fd = FileSink::Open(path);
  if (fd < 0) {
    return absl::UnavailableError(
        fmt::format("cannot open log file {}: {}", path, std::strerror(errno)));
  }
  return std::make_unique<FileSink>(path, fd, std::move(stamp));
}

std::unique_ptr<LogSink> MakeDescriptorSink(int fd, TraditionalStamp stamp) {
  return std::make_unique<DescriptorSink>(fd, std::move(stamp));
}

absl::StatusOr<int> ParseSyslogFacility(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, int>, 20> kFacilities = {{
      {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},
      {"daemon", LOG_DAEMON}, {"ftp", LOG_FTP},           {"kern", LOG_KERN},
      {"lpr", LOG_LPR},       {"mail", LOG_MAIL},         {"news", LOG_NEWS},
      {"syslog", LOG_SYSLOG}, {"user", LOG_USER},         {"uucp", LOG_UUCP},
      {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2},
      {"local3", LOG_LOCAL3}, {"local4", LOG_LOCAL4},     {"local5", LOG_LOCAL5},
      {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
  }};
  for (const auto& [word, facility] : kFacilities) {
    if (EqualsIgnoreCase(word, name)) return facility;
  }
  return absl::InvalidArgumentError(fmt::format("unknown syslog facility \"{}\"", name));
}

}  // namespace mailrace::logs
