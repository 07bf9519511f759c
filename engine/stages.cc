#include "engine/stages.h"

#include <algorithm>

namespace mailrace::engine {

namespace {

absl::Duration Between(MonoTime from, MonoTime to) {
  return std::max(to - from, absl::ZeroDuration());
}

}  // namespace

std::string_view StageName(Stage stage) {
  switch (stage) {
    case Stage::kIntake:
      return "intake";
    case Stage::kCommitWait:
      return "commit_wait";
    case Stage::kCommit:
      return "commit";
    case Stage::kDeferred:
      return "deferred";
    case Stage::kQueue:
      return "queue";
    case Stage::kConnect:
      return "connect";
    case Stage::kTls:
      return "tls";
    case Stage::kAuth:
      return "auth";
    case Stage::kEnvelope:
      return "envelope";
    case Stage::kData:
      return "data";
    case Stage::kEndOfData:
      return "end_of_data";
    case Stage::kRecord:
      return "record";
  }
  return "";
}

StageDurations MeasureStages(const StageFacts& facts) {
  StageDurations durations{};
  const auto of = [&durations](Stage stage) -> absl::Duration& {
    return durations[static_cast<size_t>(stage)];
  };
  const TransactionTimes& times = facts.times;
  absl::Duration before;  // Accepted, and not yet ready for this attempt.
  if (facts.accepted) {
    const AcceptTimes& accepted = *facts.accepted;
    const absl::Duration committed = Between(accepted.submitted, accepted.durable);
    of(Stage::kIntake) = Between(accepted.begun, accepted.submitted);
    // The committer's clock is finer than a turn.
    of(Stage::kCommitWait) = std::min(accepted.commit_wait, committed);
    of(Stage::kCommit) = committed - of(Stage::kCommitWait);
    before = Between(accepted.durable, times.ready);
  } else {
    before = std::max(facts.age - Between(times.ready, times.answered), absl::ZeroDuration());
  }
  // Mail beyond memory, or found at start, was waiting for its turn all that time.
  of(facts.attempted_before ? Stage::kDeferred : Stage::kQueue) = before;
  const absl::Duration made = Between(times.taken, times.connected);
  of(Stage::kTls) = std::min(facts.session.tls, made);
  of(Stage::kAuth) = std::min(facts.session.auth, made - of(Stage::kTls));
  of(Stage::kConnect) = made - of(Stage::kTls) - of(Stage::kAuth);
  // A pass of many transactions waits for its own as for others'.
  of(Stage::kQueue) +=
      Between(times.ready, times.taken) + Between(times.connected, times.handed_out);
  of(Stage::kEnvelope) = Between(times.handed_out, times.content);
  of(Stage::kData) = Between(times.content, times.end);
  of(Stage::kEndOfData) = Between(times.end, times.answered);
  return durations;
}

void RecordStages(const StageFacts& facts, StageTimes* times) {
  const StageDurations durations = MeasureStages(facts);
  for (size_t stage = 0; stage < static_cast<size_t>(Stage::kRecord); ++stage) {
    times->of[stage].Record(durations[stage]);
  }
}

}  // namespace mailrace::engine
