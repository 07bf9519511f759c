// What a start says in one place about the queue that it found: how many messages and in
// what state, what was lost if that was accepted, whom the end before may have left to be
// delivered twice. Lines for the log, with their severity.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/logger.h"
#include "engine/possible_duplicates.h"

namespace mailrace::engine {

struct StartReport {
  // Messages by what they wait for; each is counted once.
  uint64_t due = 0;
  uint64_t deferred = 0;
  uint64_t held = 0;
  std::string accepted_loss;  // Of the store; empty: it is whole.
  PossibleDuplicates possible_duplicates;

  void Count(const queue::RecoveredMessage& message, absl::Time now);
  uint64_t messages() const { return due + deferred + held; }
};

// "start: 5 messages in the queue: 2 due, 2 deferred, 1 on hold", then what was lost, then
// the possible duplicates: their number and ids, what makes the list doubtful, and a line
// for each of their messages.
void LogStart(const StartReport& report, Logger* logger);

}  // namespace mailrace::engine
