// The lines that mail log tools (pflogsumm, logwatch, fail2ban …) parse: deliveries and
// the life of a message in the queue, byte for byte as Postfix writes them. Pure
// functions; any thread. What comes from peers or submitters is made printable and
// single-line here, so that nobody can forge a line (line ends become spaces, other
// controls '?'). What each line means to an operator: docs/LOGS.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/enhanced_status.h"
#include "engine/logs/delay_format.h"

namespace mailrace::logs {

// kPostfix is what Postfix 2.3 and later write. kPostfix22 is Postfix 2.2: whole seconds
// of delay and no port, conn_use, delays or dsn.
enum class LogStyle { kPostfix, kPostfix22 };

// The host at the other end. An empty host means that there is none.
struct Peer {
  std::string host;
  std::string ip;     // IPv6 without brackets or prefix.
  uint16_t port = 0;  // 0: not known.

  bool none() const { return host.empty(); }
};
// "host[ip]", or "none".
std::string PeerName(const Peer& peer);
// "host[ip]:port", without a port if that is not known; or "none".
std::string PeerNamePort(const Peer& peer);

enum class DeliveryStatus { kSent, kDeferred, kBounced };

// What became of the TLS level that policy set for a connection, for "tls=" (Postfix 3.11,
// smtp_log_tls_feature_status).
struct TlsFeature {
  enum class Verdict {
    kReached,     // "verify"
    kWithoutTls,  // "may:none": policy put up with less.
    kViolated,    // "!verify": policy was not satisfied, and nothing was sent.
    kUndecided,   // "verify?": the connection ended before it could be told.
  };
  std::string_view level;  // As main.cf names it, of static storage. Empty: no TLS policy.
  Verdict verdict = Verdict::kUndecided;
};
std::string TlsFeatureText(const TlsFeature& feature);

// What happened to one recipient in one attempt.
struct DeliveryLine {
  std::string queue_id;
  std::string recipient;           // Forward-path mailbox without brackets.
  std::string original_recipient;  // Before rewriting; logged if it differs. May be empty.
  Peer relay;
  uint32_t connection_uses = 1;  // With this one; logged from 2 on.
  DeliveryStamps stamps;
  std::string tls_features;  // As "may:none"; empty: not logged.
  EnhancedStatus dsn;
  DeliveryStatus status = DeliveryStatus::kSent;
  // The server's reply or one of the texts below.
  std::string text;
};
std::string FormatDelivery(const DeliveryLine& line, LogStyle style,
                           int delay_digits_max = kDelayDigitsDefault);

// --- Why a delivery did not succeed: the text in the parentheses. `reply` is the whole
// reply with its codes, lines separated by LF or CRLF. `command` and `stage` are the
// words of transport/smtp's StepCommand and StepStage.

// "host H[IP] said: 550 5.1.1 no (in reply to RCPT TO command)"
std::string SaidText(const Peer& peer, std::string_view reply, std::string_view command);
// "host H[IP] refused to talk to me: 554 go away"
std::string RefusedToTalkText(const Peer& peer, std::string_view reply);
// "lost connection with H[IP] while sending RCPT TO"
std::string LostConnectionText(const Peer& peer, std::string_view stage);
// "conversation with H[IP] timed out while sending RCPT TO"
std::string TimedOutText(const Peer& peer, std::string_view stage);
// "connect to H[IP]:25: Connection refused"
std::string ConnectText(const Peer& peer, std::string_view reason);
// "delivery temporarily suspended: REASON"
std::string SuspendedText(std::string_view reason);

// --- The life of a message in the queue. Addresses are without brackets, the null
// reverse-path is empty.

// "QID: client=H[IP]"
std::string ClientLine(std::string_view queue_id, const Peer& client);
// "QID: client=H[IP], sasl_method=M, sasl_username=U"
std::string AuthenticatedClientLine(std::string_view queue_id, const Peer& client,
                                    std::string_view sasl_method, std::string_view sasl_username);
// "QID: uid=N from=<S>": a local submission by sendmail.
std::string PickupLine(std::string_view queue_id, uint32_t uid, std::string_view sender);
// "QID: message-id=<M>"; `message_id` is the header's value with its brackets.
std::string MessageIdLine(std::string_view queue_id, std::string_view message_id);
// "QID: from=<S>, size=N, nrcpt=N (queue active)"
std::string ActiveLine(std::string_view queue_id, std::string_view sender, uint64_t octets,
                       uint64_t recipients);
// "QID: from=<S>, status=expired, returned to sender"
std::string ExpiredLine(std::string_view queue_id, std::string_view sender);
// "QID: from=<S>, status=force-expired, returned to sender": an operator ended it.
std::string ForceExpiredLine(std::string_view queue_id, std::string_view sender);
// "QID: removed"
std::string RemovedLine(std::string_view queue_id);
// "Host offered STARTTLS: [H]" (smtp_tls_note_starttls_offer).
std::string StartTlsOfferedLine(std::string_view host);

// What the bounce service sent, and to whom: "QID: sender non-delivery notification: QID2".
enum class Notification {
  kSenderFailure,      // sender non-delivery notification
  kSenderDelay,        // sender delay notification
  kSenderSuccess,      // sender delivery status notification
  kPostmasterFailure,  // postmaster non-delivery notification
  kPostmasterDelay,    // postmaster delay notification
};
std::string NotificationLine(std::string_view queue_id, Notification kind,
                             std::string_view notification_queue_id);

// One line from text of others: each line end becomes one space, blanks at both ends go,
// other control characters '?'.
std::string OneLine(std::string_view text);

}  // namespace mailrace::logs
