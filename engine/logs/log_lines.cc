#include "engine/logs/log_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mailrace::logs {
namespace {

std::string_view StatusWord(DeliveryStatus status) {
  switch (status) {
    case DeliveryStatus::kSent:
      return "sent";
    case DeliveryStatus::kDeferred:
      return "deferred";
    case DeliveryStatus::kBounced:
      return "bounced";
  }
  return "deferred";
}

std::string_view NotificationWords(Notification kind) {
  switch (kind) {
    case Notification::kSenderFailure:
      return "sender non-delivery notification";
    case Notification::kSenderDelay:
      return "sender delay notification";
    case Notification::kSenderSuccess:
      return "sender delivery status notification";
    case Notification::kPostmasterFailure:
      return "postmaster non-delivery notification";
    case Notification::kPostmasterDelay:
      return "postmaster delay notification";
  }
  return "sender non-delivery notification";
}

// Postfix 2.2 subtracted time_t values: seconds of the calendar, not of the interval.
int64_t WholeSeconds(const DeliveryStamps& stamps) {
  return std::max<int64_t>(absl::ToUnixSeconds(stamps.done) - absl::ToUnixSeconds(stamps.arrival),
                           0);
}

}  // namespace

std::string OneLine(std::string_view text) {
  if (PlainOctets(text) == text.size()) return std::string(Trim(text));
  std::string joined;
  joined.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool crlf = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (crlf) continue;
    joined += text[i] == '\n' ? ' ' : text[i];
  }
  return Printable(Trim(joined));
}

std::string PeerName(const Peer& peer) {
  if (peer.none()) return "none";
  return fmt::format("{}[{}]", OneLine(peer.host), peer.ip);
}

std::string PeerNamePort(const Peer& peer) {
  if (peer.none() || peer.port == 0) return PeerName(peer);
  return fmt::format("{}:{}", PeerName(peer), peer.port);
}

std::string TlsFeatureText(const TlsFeature& feature) {
  if (feature.level.empty()) return "";
  switch (feature.verdict) {
    case TlsFeature::Verdict::kReached:
      return std::string(feature.level);
    case TlsFeature::Verdict::kWithoutTls:
      return fmt::format("{}:none", feature.level);
    case TlsFeature::Verdict::kViolated:
      return fmt::format("!{}", feature.level);
    case TlsFeature::Verdict::kUndecided:
      return fmt::format("{}?", feature.level);
  }
  return "";
}

std::string FormatDelivery(const DeliveryLine& line, LogStyle style, int delay_digits_max) {
  std::string out = fmt::format("{}: to=<{}>", line.queue_id, OneLine(line.recipient));
  auto append = std::back_inserter(out);
  if (!line.original_recipient.empty() &&
      !EqualsIgnoreCase(line.original_recipient, line.recipient)) {
    fmt::format_to(append, ", orig_to=<{}>", OneLine(line.original_recipient));
  }
  if (style == LogStyle::kPostfix22) {
    fmt::format_to(append, ", relay={}, delay={}", PeerName(line.relay), WholeSeconds(line.stamps));
  } else {
    const Delays delays = ComputeDelays(line.stamps);
    fmt::format_to(append, ", relay={}", PeerNamePort(line.relay));
    if (line.connection_uses > 1) fmt::format_to(append, ", conn_use={}", line.connection_uses);
    fmt::format_to(append, ", delay={}, delays={}", FormatDelay(delays.total, delay_digits_max),
                   FormatDelays(delays, delay_digits_max));
    if (!line.tls_features.empty()) fmt::format_to(append, ", tls={}", line.tls_features);
    fmt::format_to(append, ", dsn={}", line.dsn.ToString());
  }
  fmt::format_to(append, ", status={} ({})", StatusWord(line.status), OneLine(line.text));
  return out;
}

std::string SaidText(const Peer& peer, std::string_view reply, std::string_view command) {
  return fmt::format("host {} said: {} (in reply to {} command)", PeerName(peer), OneLine(reply),
                     command);
}

std::string RefusedToTalkText(const Peer& peer, std::string_view reply) {
  return fmt::format("host {} refused to talk to me: {}", PeerName(peer), OneLine(reply));
}

std::string LostConnectionText(const Peer& peer, std::string_view stage) {
  return fmt::format("lost connection with {} while {}", PeerName(peer), stage);
}

std::string TimedOutText(const Peer& peer, std::string_view stage) {
  return fmt::format("conversation with {} timed out while {}", PeerName(peer), stage);
}

std::string ConnectText(const Peer& peer, std::string_view reason) {
  return fmt::format("connect to {}: {}", PeerNamePort(peer), OneLine(reason));
}

std::string SuspendedText(std::string_view reason) {
  return fmt::format("delivery temporarily suspended: {}", OneLine(reason));
}

std::string ClientLine(std::string_view queue_id, const Peer& client) {
  return fmt::format("{}: client={}", queue_id, PeerName(client));
}

std::string AuthenticatedClientLine(std::string_view queue_id, const Peer& client,
                                    std::string_view sasl_method, std::string_view sasl_username) {
  return fmt::format("{}: client={}, sasl_method={}, sasl_username={}", queue_id, PeerName(client),
                     OneLine(sasl_method), OneLine(sasl_username));
}

std::string PickupLine(std::string_view queue_id, uint32_t uid, std::string_view sender) {
  return fmt::format("{}: uid={} from=<{}>", queue_id, uid, OneLine(sender));
}

std::string MessageIdLine(std::string_view queue_id, std::string_view message_id) {
  return fmt::format("{}: message-id={}", queue_id,
                     message_id.empty() ? "<>" : OneLine(message_id));
}

std::string ActiveLine(std::string_view queue_id, std::string_view sender, uint64_t octets,
                       uint64_t recipients) {
  return fmt::format("{}: from=<{}>, size={}, nrcpt={} (queue active)", queue_id, OneLine(sender),
                     octets, recipients);
}

std::string ExpiredLine(std::string_view queue_id, std::string_view sender) {
  return fmt::format("{}: from=<{}>, status=expired, returned to sender", queue_id,
                     OneLine(sender));
}

std::string ForceExpiredLine(std::string_view queue_id, std::string_view sender) {
  return fmt::format("{}: from=<{}>, status=force-expired, returned to sender", queue_id,
                     OneLine(sender));
}

std::string RemovedLine(std::string_view queue_id) { return fmt::format("{}: removed", queue_id); }

std::string StartTlsOfferedLine(std::string_view host) {
  return fmt::format("Host offered STARTTLS: [{}]", OneLine(host));
}

std::string NotificationLine(std::string_view queue_id, Notification kind,
                             std::string_view notification_queue_id) {
  return fmt::format("{}: {}: {}", queue_id, NotificationWords(kind), notification_queue_id);
}

}  // namespace mailrace::logs
