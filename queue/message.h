// A queued message: what was promised to whom. The envelope is immutable once it is
// durable; what happens to its recipients is told by later records.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/enhanced_status.h"
#include "base/queue_id.h"

namespace mailrace::queue {

// NOTIFY of RFC 3461 4.1; 0 means that none was given (as FAILURE and maybe DELAY).
enum NotifyBits : uint8_t {
  kNotifyNever = 1,
  kNotifySuccess = 2,
  kNotifyFailure = 4,
  kNotifyDelay = 8,
};

enum class Ret : uint8_t { kUnset = 0, kFull = 1, kHeaders = 2 };

struct Recipient {
  std::string address;  // Forward-path mailbox as given.
  std::string orcpt;    // "rfc822;user@example.com", decoded; empty if none.
  uint8_t notify = 0;
};

struct Envelope {
  QueueId id;
  absl::Time arrival;
  std::string reverse_path;  // Empty: "<>".
  std::string envid;         // Decoded; empty if none.
  Ret ret = Ret::kUnset;
  bool smtputf8 = false;
  bool eight_bit = false;  // The content has octets above 127.
  uint64_t octets = 0;     // Content, with the header fields that we added.
  uint32_t chunks = 0;     // Body records.
  std::string message_id;  // Message-ID header with brackets; for logs and DSNs.
  std::string submitter;   // Authenticated or local user, for log and quotas; may be empty.
  uint8_t priority = 1;    // Class: 0 urgent, 1 normal, 2 bulk (issue-level policy in engine).
  std::string tenant;
  std::vector<Recipient> recipients;
};

// Body content in memory: shared by intake, commit and delivery without a copy.
using Octets = std::shared_ptr<const std::string>;

// A body record holds at most this much; larger contents are several records and are
// streamed, so that no 50 MB message is ever whole in memory.
inline constexpr size_t kChunkOctetsMax = 256 * 1024;

// What came of one recipient for good.
enum class Final : uint8_t { kDelivered = 1, kFailed = 2, kExpired = 3 };

// One charged attempt that ended in a deferral, for whoever asks why mail waits.
struct Attempt {
  absl::Time at;  // When it ended.
  absl::Duration took;
  EnhancedStatus status;
  std::string relay;  // As the log writes it: "host[ip]:port" or "none".
  std::string text;   // Printable: the reply, or why there was none.
  friend bool operator==(const Attempt&, const Attempt&) = default;
};

// What is known of a message that was tried and is not over: overwritten at each
// deferral. Recipients that are final are in their own records. Mail that is delivered at
// its first attempt has none.
struct RetryState {
  uint32_t attempts = 0;    // Charged ones only.
  absl::Time next_attempt;  // Wall clock: survives restarts.
  bool delay_warning_sent = false;
  bool held = false;
  std::string last_reason;       // Printable, as the log said it; at most 1 KiB.
  std::vector<Attempt> history;  // The latest kAttemptsKept, oldest first.

  // Adds to the history and forgets the oldest beyond its bounds: number and octets.
  void Note(Attempt attempt);
};

// What is kept of RetryState::last_reason.
inline constexpr size_t kLastReasonOctetsMax = 1024;
// Bounds of RetryState::history. A relay that says the same each time costs some 16
// octets an attempt.
inline constexpr size_t kAttemptsKept = 20;
inline constexpr size_t kAttemptRelayOctetsMax = 128;
inline constexpr size_t kAttemptTextOctetsMax = 512;
inline constexpr size_t kHistoryOctetsMax = 4096;

}  // namespace mailrace::queue
