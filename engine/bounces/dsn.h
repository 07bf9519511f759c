// Builds delivery status notifications: RFC 3461 6, 3462 (6522), 3464; for
// internationalised mail RFC 6533; in Postfix's words and layout, which bounce parsers
// know. A pure function of the request: the caller queues the result with a null reverse
// path (RFC 3461 6.1), in the batch that records the disposition.
//
// A report must not fail where the mail it is about failed. So it needs SMTPUTF8 only if
// its own recipient's address does; otherwise addresses of type utf-8 take their seven-bit
// form (RFC 6533 3), and what else is UTF-8 is encoded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/enhanced_status.h"
#include "base/queue_id.h"
#include "engine/bounces/bounce_rules.h"
#include "queue/message.h"

namespace mailrace::engine {

// One notification reports at most this many recipients: the caller makes another one of
// the rest.
inline constexpr size_t kDsnRecipientsMax = 1000;
// A remote reply is quoted up to this, less if there are many recipients.
inline constexpr size_t kDiagnosticOctetsMax = 1000;

struct DsnRecipient {
  std::string address;  // Forward path, as it was tried.
  std::string orcpt;    // "rfc822;user@example.com", decoded; empty if none.
  DsnAction action = DsnAction::kFailed;
  EnhancedStatus status;
  // For people, as the log says it: "host mx.example[192.0.2.1] said: 550 5.1.1 no such
  // user (in reply to RCPT TO command)".
  std::string reason;
  std::string remote_mta;  // Host name; empty if none was reached.
  std::string reply;       // What it said, code first: "550 5.1.1 no such user"; or empty.
  std::optional<absl::Time> last_attempt;
  std::optional<absl::Time> will_retry_until;  // Delayed only.
};

struct DsnRequest {
  DsnAction kind = DsnAction::kFailed;  // Of the whole: subject and text.

  // The original's envelope and content.
  QueueId queue_id;
  std::string reverse_path;  // The notification's recipient, but for `postmaster`. Empty: "<>".
  std::string envid;         // Decoded; empty if none.
  std::string message_id;    // With brackets; empty if none.
  absl::Time arrival;
  bool smtputf8 = false;
  queue::Ret ret = queue::Ret::kUnset;  // kHeaders also for REQUIRETLS (RFC 8689 5).
  std::string_view original;            // Its beginning: the header section, and the body if it
                                        // is to be returned. Borrowed for the call.
  uint64_t original_octets = 0;         // All of it.
  std::vector<DsnRecipient> recipients;

  // Not for the sender but for this postmaster: a copy, or the report of a notification
  // that could not be delivered. REQUIRES: not empty if the reverse path is.
  std::string postmaster;
  // The way back may take no 8-bit content: another notification than that of headers
  // would fail as the mail did (5.6.3).
  bool seven_bit = false;

  // Ourselves.
  std::string hostname;                // myhostname
  std::string mail_name = "Mailrace";  // mail_name
  size_t bounce_size_limit = 50'000;  // Larger originals: header section only, and this much of it.
  absl::Duration delay_warning_time;  // For the text of a delay notice.
  absl::Duration lifetime;            // maximal_queue_lifetime, likewise.
  absl::Time date;
  absl::TimeZone zone = absl::UTCTimeZone();
  std::string boundary;  // Random, at least 16 characters of A-Z a-z 0-9.
};

struct Dsn {
  std::string content;     // CRLF, lines of at most 998 octets.
  std::string message_id;  // Its own, with brackets.
  bool eight_bit = false;  // Envelope.eight_bit.
  bool smtputf8 = false;   // Envelope.smtputf8: its recipient's address is UTF-8.
  size_t recipients_reported = 0;
  bool returned_whole = false;  // The original is in it, not its header section alone.
};

Dsn BuildDsn(const DsnRequest& request);

}  // namespace mailrace::engine
