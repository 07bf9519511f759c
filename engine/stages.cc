#include "engine/stages.h"

#include <algorithm>

namespace mailrace::engine {

namespace {

int64_t Between(MonoTime from, MonoTime to) { return std::max<int64_t>(to.nanos - from.nanos, 0); }

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

StageNanos MeasureStages(const StageFacts& facts) {
  StageNanos nanos{};
  const auto of = [&nanos](Stage stage) -> int64_t& { return nanos[static_cast<size_t>(stage)]; };
  const TransactionTimes& times = facts.times;
  int64_t before = 0;  // Accepted, and not yet ready for this attempt.
  if (facts.accepted) {
    const AcceptTimes& accepted = *facts.accepted;
    const int64_t committed = Between(accepted.submitted, accepted.durable);
    of(Stage::kIntake) = Between(accepted.begun, accepted.submitted);
    // The committer's clock is finer than a turn.
    of(Stage::kCommitWait) = std::min(absl::ToInt64Nanoseconds(accepted.commit_wait), committed);
    of(Stage::kCommit) = committed - of(Stage::kCommitWait);
    before = Between(accepted.durable, times.ready);
  } else {
    before = std::max<int64_t>(
        absl::ToInt64Nanoseconds(facts.age) - Between(times.ready, times.answered), 0);
  }
  // Mail beyond memory, or found at start, was waiting for its turn all that time.
  of(facts.attempted_before ? Stage::kDeferred : Stage::kQueue) = before;
  const int64_t made = Between(times.taken, times.connected);
  of(Stage::kTls) = std::min(absl::ToInt64Nanoseconds(facts.session.tls), made);
  of(Stage::kAuth) = std::min(absl::ToInt64Nanoseconds(facts.session.auth), made - of(Stage::kTls));
  of(Stage::kConnect) = made - of(Stage::kTls) - of(Stage::kAuth);
  // A pass of many transactions waits for its own as for others'.
  of(Stage::kQueue) +=
      Between(times.ready, times.taken) + Between(times.connected, times.handed_out);
  of(Stage::kEnvelope) = Between(times.handed_out, times.content);
  of(Stage::kData) = Between(times.content, times.end);
  of(Stage::kEndOfData) = Between(times.end, times.answered);
  return nanos;
}

void RecordStages(const StageFacts& facts, StageTimes* times) {
  constexpr int64_t kNanosInMicro = 1000;
  const StageNanos nanos = MeasureStages(facts);
  for (size_t stage = 0; stage < static_cast<size_t>(Stage::kRecord); ++stage) {
    times->of[stage].RecordValue(nanos[stage] / kNanosInMicro);
  }
}

}  // namespace mailrace::engine
