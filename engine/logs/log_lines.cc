#include "engine/logs/log_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

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

// A message has half a dozen lines, and a format string would be read for each of them.
void Append(std::initializer_list<std::string_view> parts, std::string* line) {
  size_t octets = line->size();
  for (const std::string_view part : parts) octets += part.size();
  line->reserve(octets);
  for (const std::string_view part : parts) line->append(part);
}

std::string Join(std::initializer_list<std::string_view> parts) {
  std::string line;
  Append(parts, &line);
  return line;
}

// What OneLine() makes of a text, which mostly is that text.
class Shown {
 public:
  explicit Shown(std::string_view text) : view_(Trim(text)) {
    if (PlainOctets(view_) == view_.size()) return;
    changed_ = OneLine(text);
    view_ = changed_;
  }
  Shown(const Shown&) = delete;
  Shown& operator=(const Shown&) = delete;
  operator std::string_view() const { return view_; }

 private:
  std::string changed_;
  std::string_view view_;
};

// In decimal.
class Number {
 public:
  explicit Number(uint64_t value) : digits_(value) {}
  operator std::string_view() const { return {digits_.data(), digits_.size()}; }

 private:
  fmt::format_int digits_;
};

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
  return Join({Shown(peer.host), "[", peer.ip, "]"});
}

std::string PeerNamePort(const Peer& peer) {
  if (peer.none() || peer.port == 0) return PeerName(peer);
  return Join({PeerName(peer), ":", Number(peer.port)});
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
  constexpr size_t kUsualOctets = 256;
  std::string out;
  out.reserve(kUsualOctets);
  Append({line.queue_id, ": to=<", Shown(line.recipient), ">"}, &out);
  if (!line.original_recipient.empty() &&
      !EqualsIgnoreCase(line.original_recipient, line.recipient)) {
    Append({", orig_to=<", Shown(line.original_recipient), ">"}, &out);
  }
  if (style == LogStyle::kPostfix22) {
    const auto seconds = static_cast<uint64_t>(WholeSeconds(line.stamps));
    Append({", relay=", PeerName(line.relay), ", delay=", Number(seconds)}, &out);
  } else {
    const Delays delays = ComputeDelays(line.stamps);
    Append({", relay=", PeerNamePort(line.relay)}, &out);
    if (line.connection_uses > 1) Append({", conn_use=", Number(line.connection_uses)}, &out);
    Append({", delay=", FormatDelay(delays.total, delay_digits_max),
            ", delays=", FormatDelays(delays, delay_digits_max)},
           &out);
    if (!line.tls_features.empty()) Append({", tls=", line.tls_features}, &out);
    Append({", dsn=", line.dsn.ToString()}, &out);
  }
  Append({", status=", StatusWord(line.status), " (", Shown(line.text), ")"}, &out);
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
  return Join({queue_id, ": client=", PeerName(client)});
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
  return Join({queue_id, ": message-id=", Shown(message_id.empty() ? "<>" : message_id)});
}

std::string ActiveLine(std::string_view queue_id, std::string_view sender, uint64_t octets,
                       uint64_t recipients) {
  return Join({queue_id, ": from=<", Shown(sender), ">, size=", Number(octets),
               ", nrcpt=", Number(recipients), " (queue active)"});
}

std::string ExpiredLine(std::string_view queue_id, std::string_view sender) {
  return fmt::format("{}: from=<{}>, status=expired, returned to sender", queue_id,
                     OneLine(sender));
}

std::string ForceExpiredLine(std::string_view queue_id, std::string_view sender) {
  return fmt::format("{}: from=<{}>, status=force-expired, returned to sender", queue_id,
                     OneLine(sender));
}

std::string RemovedLine(std::string_view queue_id) { return Join({queue_id, ": removed"}); }

std::string StartTlsOfferedLine(std::string_view host) {
  return fmt::format("Host offered STARTTLS: [{}]", OneLine(host));
}

std::string NotificationLine(std::string_view queue_id, Notification kind,
                             std::string_view notification_queue_id) {
  return fmt::format("{}: {}: {}", queue_id, NotificationWords(kind), notification_queue_id);
}

}  // namespace mailrace::logs
