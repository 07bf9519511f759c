// What a reply or a failure means for a recipient: a pure table (reliability.md 5.2,
// RFC 5321 4.2.1, 4.5.4.1). Everything that is not a clear yes or a clear permanent no
// to this recipient or this message defers.
#pragma once

#include <optional>
#include <string>

#include "base/enhanced_status.h"
#include "engine/logs/log_lines.h"
#include "transport/smtp/transaction.h"

namespace mailrace::engine {

struct Disposition {
  enum class Kind {
    kDelivered,
    kDeferred,
    kFailed,   // For good: the sender is told.
    kUntried,  // Nothing was said about it: tried again at once on another session, uncharged.
  };
  Kind kind = Kind::kDeferred;
  // The server may have taken the message although nobody said so: a retry can
  // duplicate it (invariant I3).
  bool uncertain = false;
  EnhancedStatus status{4, 0, 0};
  std::string text;  // Of the log line, printable.
};

// `message_failure` is OutgoingMessage::failure. `soft_bounce` turns every permanent
// failure into a deferral (soft_bounce = yes).
Disposition JudgeRecipient(const transport::smtp::OutgoingRecipient& recipient,
                           const std::optional<transport::smtp::Failure>& message_failure,
                           const logs::Peer& relay, bool soft_bounce);

// A session that could not be set up, or broke: why, for log and deferral. The status
// is never of class 5: a relay that refuses us refuses no recipient.
struct Trouble {
  EnhancedStatus status{4, 0, 0};
  std::string text;
};
Trouble ExplainFailure(const transport::smtp::Failure& failure, const logs::Peer& relay);

}  // namespace mailrace::engine
