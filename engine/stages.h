// Where the time of one delivered message went, from its MAIL command to the record of its
// outcome. The stages follow each other without a gap, each begins where the one before it
// ended, so that all but kRecord add up to the delivery time. docs/PERFORMANCE.md says what
// each means for an operator.
//
// Measured once for each transaction that delivered to somebody, on the shard, by the time
// at which the loop's turns began: no clock is read for it, and what is done within one turn
// counts for the stage that it ends in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/metrics.h"

namespace mailrace::engine {

enum class Stage : uint8_t {
  kIntake,      // MAIL taken to its end of data: the client, and what we make of it.
  kCommitWait,  // Until the commit thread began its group: it writes the one before.
  kCommit,      // Write, sync, and back on the shard. Then 250.
  kDeferred,    // Earlier attempts and the pauses between them.
  kQueue,       // Ready until a session takes it: windows, turns of others, reading it back.
  kConnect,     // If a session had to be made: DNS, connect, greeting, EHLO, dead addresses.
  kTls,         // STARTTLS, handshake, the second EHLO.
  kAuth,        // Login.
  kEnvelope,    // From then on until content may go: 354, or in a stream its turn.
  kData,        // Content written, its end included.
  kEndOfData,   // Until the server answered for it.
  kRecord,      // Until that is durable. Nobody waits for it; duplicates do (at most 5 ms).
};
inline constexpr size_t kStages = 12;

// As `mailrace stats` calls it: "intake", "commit_wait", …
std::string_view StageName(Stage stage);

struct StageTimes {
  Histogram of[kStages];
  Histogram& Of(Stage stage) { return of[static_cast<size_t>(stage)]; }
  const Histogram& Of(Stage stage) const { return of[static_cast<size_t>(stage)]; }
};

// What a message in memory knows of its beginning. Mail that was there at start, was read
// back, or is our own notice, knows nothing.
struct AcceptTimes {
  MonoTime begun;              // MAIL.
  MonoTime submitted;          // To the committer.
  absl::Duration commit_wait;  // Until its group began.
  MonoTime durable;
};

// How long the two took of the time in which a session was made; all tries together.
struct SessionCosts {
  absl::Duration tls;
  absl::Duration auth;
};

// When a transaction that delivered got where. Each no earlier than the one before.
struct TransactionTimes {
  MonoTime ready;       // The job.
  MonoTime taken;       // By a session, or for one to be made.
  MonoTime connected;   // That session stood.
  MonoTime handed_out;  // The session took up this transaction.
  MonoTime content;     // Content began to be written.
  MonoTime end;         // Its end was written.
  MonoTime answered;
};

// What the stages are measured from.
struct StageFacts {
  std::optional<AcceptTimes> accepted;
  SessionCosts session;
  TransactionTimes times;
  absl::Duration age;  // At times.answered; used if `accepted` is unknown.
  bool attempted_before = false;
};

// In nanoseconds. All but kRecord: nobody knows that yet. Whole numbers, for this is done for
// each message.
using StageNanos = std::array<int64_t, kStages>;
StageNanos MeasureStages(const StageFacts& facts);

// The same into the histograms.
void RecordStages(const StageFacts& facts, StageTimes* times);

}  // namespace mailrace::engine
