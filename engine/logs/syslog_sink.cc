// The local syslog protocol over a datagram socket (RFC 3164 4.1 without the host).
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syslog.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/logs/log_sink.h"

namespace mailrace::logs {
namespace {

constexpr int kStallMillis = 1000;

int Priority(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return LOG_DEBUG;
    case Severity::kInfo:
      return LOG_INFO;
    case Severity::kWarning:
      return LOG_WARNING;
    case Severity::kError:
      return LOG_ERR;
    case Severity::kFatal:
    case Severity::kPanic:
      return LOG_CRIT;
  }
  return LOG_INFO;
}

class SyslogSink final : public LogSink {
 public:
  SyslogSink(int facility, TraditionalStamp stamp, std::string socket_path)
      : facility_(facility), stamp_(std::move(stamp)), socket_path_(std::move(socket_path)) {}
  ~SyslogSink() override { Close(); }

  void Append(const LogRecord& record) override {
    pending_.push_back(fmt::format("<{}>{}{}", facility_ | Priority(record.severity),
                                   stamp_.At(record.time), record.text));
  }

  void Flush() override {
    const std::vector<std::string> lines = std::exchange(pending_, {});
    // A daemon that is away or stalled is found so once a batch, not once a line.
    bool reachable = true;
    for (const std::string& line : lines) {
      reachable = reachable && Send(line);
      if (!reachable) CountLost(1);
    }
  }

  void Reopen() override {
    Flush();
    Close();
  }

 private:
  bool Connect() {
    if (fd_ >= 0) return true;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_path_.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, socket_path_.data(), socket_path_.size());
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd_ < 0) return false;
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
    Close();
    return false;
  }

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  // One datagram. A daemon that was restarted has a new socket: try that once.
  bool Send(const std::string& line) {
    bool reconnected = false;
    bool waited = false;
    while (Connect()) {
      if (send(fd_, line.data(), line.size(), MSG_NOSIGNAL) >= 0) return true;
      if (errno == EINTR) continue;
      if ((errno == EAGAIN || errno == ENOBUFS) && !waited) {
        waited = true;
        pollfd ready{fd_, POLLOUT, 0};
        poll(&ready, 1, waiting() ? kStallMillis : 0);
        continue;
      }
      if (errno == EAGAIN || errno == ENOBUFS || reconnected) return false;
      reconnected = true;
      Close();
    }
    return false;
  }

  const int facility_;
  TraditionalStamp stamp_;
  const std::string socket_path_;
  std::vector<std::string> pending_;
  int fd_ = -1;
};

}  // namespace

std::unique_ptr<LogSink> MakeSyslogSink(int facility, TraditionalStamp stamp,
                                        std::string socket_path) {
  return std::make_unique<SyslogSink>(facility, std::move(stamp), std::move(socket_path));
}

}  // namespace mailrace::logs
