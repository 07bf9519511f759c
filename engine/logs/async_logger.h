// The engine's Logger: a bounded queue, and one thread that writes to a sink in batches.
// A caller pays for copying its line; it never waits for a disk, a pipe or a log daemon.
// When lines come faster than the sink takes them, the oldest waiting ones are dropped,
// counted, and a warning says how many once there is room again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/logger.h"
#include "engine/logs/log_sink.h"

namespace mailrace::logs {

// Postfix cuts records here too (msg_syslog.c); with the queue's length this bounds the
// memory that lines can take.
inline constexpr size_t kLineOctetsMax = 2000;

struct LogOptions {
  enum class Destination { kStderr, kFile, kSyslog };
  Destination destination = Destination::kStderr;
  std::string file;               // maillog_file, for kFile.
  int facility = 2 << 3;          // syslog_facility, for kSyslog: LOG_MAIL.
  std::string syslog_name;        // "postfix" gives "postfix/smtp[123]".
  std::string host;               // Empty: the system's host name up to its first dot.
  bool debug = false;             // Severity::kDebug is written, else ignored.
  size_t queue_lines_max = 8192;  // Lines that may wait.
};

class AsyncLogger final : public Logger {
 public:
  // `clock` outlives the logger. Error: the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<AsyncLogger>> Open(const LogOptions& options,
                                                           const Clock* clock);
  // With a sink of the caller's; options.destination is not used.
  static std::unique_ptr<AsyncLogger> OverSink(const LogOptions& options, const Clock* clock,
                                               std::unique_ptr<LogSink> sink);
  // Writes what waits and joins the thread. A reader that stalls is given up after a
  // moment, so that no shutdown hangs on a log.
  ~AsyncLogger() override;

  // Any thread. Line ends and controls within `line` become '?'.
  void Log(Severity severity, std::string_view service, std::string line) override;
  // Any thread: the file is opened again before the next batch (SIGHUP after rotation).
  void Reopen();
  // Any thread: waits until what it logged before is with the sink, so that a kill the
  // moment after takes none of it. False: not within `limit`, or lines are being dropped.
  bool WaitUntilWritten(absl::Duration limit);

  struct Stats {
    uint64_t dropped = 0;  // The queue was full.
    uint64_t lost = 0;     // The sink could not write.
    size_t waiting = 0;    // Lines in the queue now.
  };
  // Any thread.
  Stats stats() const;

 private:
  class Core;
  AsyncLogger(const LogOptions& options, const Clock* clock, std::unique_ptr<LogSink> sink);

  const std::string tag_prefix_;  // "postfix/"
  const std::string tag_suffix_;  // "[123]: "
  const bool debug_;
  const Clock* const clock_;
  const std::unique_ptr<Core> core_;
};

// "warning: ", "error: ", "fatal: ", "panic: " or nothing, as msg(3) writes it.
std::string_view SeverityPrefix(Severity severity);

}  // namespace mailrace::logs
