// Where log lines go. The engine writes through this interface; engine/logs holds
// the asynchronous sinks (stderr, file, syslog). Thread-safe; never blocks: a full
// sink drops and counts (reliability.md 5.3 "log disk full").
#pragma once

#include <string>
#include <string_view>

namespace mailrace {

enum class Severity { kDebug, kInfo, kWarning, kError, kFatal, kPanic };

class Logger {
 public:
  virtual ~Logger() = default;
  // `service` is what Postfix would call the daemon: "smtp", "smtpd", "qmgr",
  // "cleanup", "bounce", "tlsmgr", "master". `line` is one line without its end and
  // holds no secret. Severity above info is written as Postfix does: "warning: …".
  virtual void Log(Severity severity, std::string_view service, std::string line) = 0;

  void Info(std::string_view service, std::string line) {
    Log(Severity::kInfo, service, std::move(line));
  }
  void Warning(std::string_view service, std::string line) {
    Log(Severity::kWarning, service, std::move(line));
  }
};

}  // namespace mailrace
