// Where finished log lines are written. A sink lives on the log writer's thread: only
// lost() and StopWaiting() may be called from others. No sink ever fails the caller:
// what cannot be written is counted and gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logger.h"

namespace mailrace::logs {

struct LogRecord {
  absl::Time time;
  Severity severity = Severity::kInfo;
  std::string_view text;  // "postfix/smtp[123]: line", one line without its end.
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // May only gather; Flush writes.
  virtual void Append(const LogRecord& record) = 0;
  virtual void Flush() = 0;
  // Opens the file or socket anew (log rotation).
  virtual void Reopen() = 0;

  // Any thread: lines that could not be written so far.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }
  // Any thread: the process ends; a reader that does not read is no longer waited for.
  void StopWaiting() { waiting_.store(false, std::memory_order_relaxed); }

 protected:
  void CountLost(uint64_t lines) { lost_.fetch_add(lines, std::memory_order_relaxed); }
  bool waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> lost_{0};
  std::atomic<bool> waiting_{true};
};

// "Nov 22 15:22:20 host ": syslog's traditional stamp in the local time zone, the day
// padded with a space. Remembers the last second. One thread.
class TraditionalStamp {
 public:
  explicit TraditionalStamp(std::string host, absl::TimeZone zone = absl::LocalTimeZone())
      : host_(std::move(host)), zone_(zone) {}
  std::string_view At(absl::Time time);

 private:
  const std::string host_;
  const absl::TimeZone zone_;
  int64_t second_ = INT64_MIN;
  std::string text_;
};

// Appends to a file that is created with mode 0600 as Postfix's maillog_file. On a full
// or failing disk lines are lost and counted until writing works again; a line that was
// cut is ended first, so that the next one stays whole. The error names the file.
absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path,
                                                      TraditionalStamp stamp);

// Writes to a descriptor that stays the caller's, as 2 for stderr. If its reader (a pipe,
// a terminal) stalls, waits up to a second at a time, so lines pile up and drop.
std::unique_ptr<LogSink> MakeDescriptorSink(int fd, TraditionalStamp stamp);

// Speaks syslog(3)'s protocol to a datagram socket: "<22>Nov 22 15:22:20 tag[pid]: line".
// Not the library call, because that blocks for ever when the log daemon hangs. A daemon
// that is away is looked for again at each flush.
inline constexpr const char* kSyslogSocket = "/dev/log";
std::unique_ptr<LogSink> MakeSyslogSink(int facility, TraditionalStamp stamp,
                                        std::string socket_path = kSyslogSocket);
// "mail", "daemon", "user", "local0" … "local7" (syslog_facility), as LOG_MAIL etc.
absl::StatusOr<int> ParseSyslogFacility(std::string_view name);

}  // namespace mailrace::logs
