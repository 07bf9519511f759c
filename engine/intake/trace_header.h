// The header fields that an intake writes in front of what the client sent: Received
// always, Date and Message-ID where there is none. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/queue_id.h"
#include "base/socket_address.h"

namespace mailrace::engine {

// "Sun, 22 Nov 2026 15:00:00 +0000 (UTC)".
std::string MailDate(absl::Time time);

// "localhost" for a loopback address, else "unknown": names are not looked up.
std::string_view PeerName(const IpAddress& ip);

// A HELO argument made harmless for a header and a log line: what could end a comment, a
// field or a line becomes '?'.
std::string SafeHeloName(std::string_view helo_name);

struct ReceivedBy {
  std::string_view helo_name;  // As the client gave it.
  IpAddress peer;
  std::string_view authenticated_sender;  // Empty: not to be named.
  std::string_view myhostname;
  std::string_view mail_name;
  std::string_view protocol;  // "ESMTP", "ESMTPS", "UTF8SMTP" … (RFC 3848, RFC 6531 4.3).
  QueueId id;
  std::string_view recipient;  // The only one; empty when there are several (RFC 5321 4.4).
  absl::Time time;
};
// Postfix's form, with the CRLF at the end.
std::string ReceivedField(const ReceivedBy& by);

// "<20261122150000.0123456789ABCDE@mail.example.com>".
std::string NewMessageId(absl::Time time, QueueId id, std::string_view myhostname);

}  // namespace mailrace::engine
