// Who is told what by a delivery status notification. Pure decisions, of RFC 3461 4.1
// and 5.2, RFC 5321 6.1 and Postfix's delay_warning_time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace mailrace::engine {

// What is reported of a recipient: Action of RFC 3464 2.3.3.
enum class DsnAction : uint8_t {
  kFailed,     // Refused, or given up after the queue lifetime.
  kDelayed,    // Still being tried.
  kRelayed,    // Handed to a server that does not do DSN.
  kDelivered,  // Delivered for good.
  kExpanded,   // Handed on to several addresses.
};

struct BouncePolicy {
  // delay_warning_time; 0: no delay notices, whatever NOTIFY says, as Postfix.
  absl::Duration delay_warning_time;
  // Off: NOTIFY=SUCCESS is ignored, so that nobody can have each delivery answered.
  bool success_notices = true;
  // At most this many delay notices to one sender in an hour; 0: no limit. Of one shard.
  int delay_notices_per_sender = 0;
  // notify_classes: what postmaster is told of. Failures of mail from "<>", which nobody
  // else hears of; and copies of what senders are told, header sections only.
  bool postmaster_double_bounces = false;  // 2bounce
  bool postmaster_bounces = false;         // bounce
  bool postmaster_delays = false;          // delay
  // 2bounce_notice_recipient and its kin; without a domain: at myorigin.
  std::string double_bounce_notice_recipient = "postmaster";
  std::string bounce_notice_recipient = "postmaster";
  std::string delay_notice_recipient = "postmaster";
  // double_bounce_sender, with or without a domain: mail from it is never answered.
  std::string double_bounce_sender = "double-bounce";
};

struct BounceFacts {
  DsnAction action = DsnAction::kFailed;
  std::string_view reverse_path;     // Empty: "<>".
  uint8_t notify = 0;                // queue::NotifyBits of this recipient; 0: none given.
  bool upstream_offers_dsn = false;  // The server that accepted it takes the duty over.
};

// Whether the reverse path may be told anything at all: never "<>" (that is how loops of
// notifications begin, RFC 5321 4.5.5), never the double-bounce sender.
bool MayNotify(std::string_view reverse_path, const BouncePolicy& policy);

// Whether this recipient belongs in a notification of its action. A delay is asked about
// when DelayNoticeDue() says so.
bool WantsDsn(const BounceFacts& facts, const BouncePolicy& policy);

// At most one delay notice a message: the caller records that it was sent. A clock that
// went back makes none due.
bool DelayNoticeDue(absl::Time arrival, absl::Time now, bool already_sent,
                    const BouncePolicy& policy);

}  // namespace mailrace::engine
