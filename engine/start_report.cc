#include "engine/start_report.h"

#include "fmt/format.h"

namespace mailrace::engine {

void StartReport::Count(const queue::RecoveredMessage& message, absl::Time now) {
  if (message.has_retry && message.retry.held) {
    ++held;
  } else if (message.has_retry && message.retry.next_attempt > now) {
    ++deferred;
  } else {
    ++due;
  }
}

void LogStart(const StartReport& report, Logger* logger) {
  logger->Info("queue",
               fmt::format("start: {} messages in the queue: {} due, {} deferred, {} on hold",
                           report.messages(), report.due, report.deferred, report.held));
  if (!report.accepted_loss.empty()) {
    logger->Warning("queue", "start: loss was accepted: " + report.accepted_loss);
  }
  const PossibleDuplicates& found = report.possible_duplicates;
  const bool none = found.exact && found.recipients == 0;
  logger->Log(none ? Severity::kInfo : Severity::kWarning, "queue", "start: " + SummaryLine(found));
  for (const std::string& doubt : found.doubt) {
    logger->Warning("queue", "start: the list of possible duplicates: " + doubt);
  }
  for (const PossibleDuplicates::Message& message : found.messages) {
    logger->Warning("qmgr", MessageLine(message));
  }
}

}  // namespace mailrace::engine
