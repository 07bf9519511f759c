#include "engine/bounces/dsn.h"

#include <algorithm>

#include "base/address.h"
#include "base/text.h"
#include "engine/bounces/dsn_text.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// The text part names this many recipients; the delivery report has all.
constexpr size_t kTextRecipientsMax = 100;
// All quoted replies of one notification together (but at least 100 octets each).
constexpr size_t kDiagnosticsOctetsMax = 50'000;
constexpr size_t kDiagnosticOctetsMin = 100;
constexpr size_t kAddressOctetsMax = 600;  // An original recipient may be in xtext.
constexpr size_t kNameOctetsMax = 255;

std::string FormatDate(absl::Time time, absl::TimeZone zone) {
  return absl::FormatTime("%a, %d %b %Y %H:%M:%S %z (%Z)", time, zone);
}

std::string_view ActionName(DsnAction action) {
  switch (action) {
    case DsnAction::kFailed:
      return "failed";
    case DsnAction::kDelayed:
      return "delayed";
    case DsnAction::kRelayed:
      return "relayed";
    case DsnAction::kDelivered:
      return "delivered";
    case DsnAction::kExpanded:
      return "expanded";
  }
  return "failed";
}

// A status is never absent from a report: RFC 3464 2.3.4.
EnhancedStatus StatusOf(const DsnRecipient& recipient) {
  if (recipient.status.klass != 0) return recipient.status;
  switch (recipient.action) {
    case DsnAction::kFailed:
      return {5, 0, 0};
    case DsnAction::kDelayed:
      return {4, 0, 0};
    default:
      return {2, 0, 0};
  }
}

bool IsMessageId(std::string_view text) {
  return text.size() > 2 && text.size() <= 900 && text.front() == '<' && text.back() == '>' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// One notification under way: the request, and what the parts share.
class Builder {
 public:
  explicit Builder(const DsnRequest& request)
      : request_(request),
        reported_(std::min(request.recipients.size(), kDsnRecipientsMax)),
        hostname_(OneLine(request.hostname, false, kNameOctetsMax)),
        mail_name_(OneLine(request.mail_name, false, 60)) {
    const size_t share = kDiagnosticsOctetsMax / std::max<size_t>(reported_, 1);
    diagnostic_octets_max_ = std::clamp(share, kDiagnosticOctetsMin, kDiagnosticOctetsMax);
  }

  Dsn Build();

 private:
  std::string Address(std::string_view text) const {
    return OneLine(text, request_.smtputf8, kAddressOctetsMax);
  }
  std::string_view Global() const { return request_.smtputf8 ? "global-" : ""; }
  std::string TypedAddress(std::string_view address) const;
  std::string DiagnosticType() const;

  std::string TextPart() const;
  void AppendTextOfKind(std::string* out) const;
  std::string StatusPart() const;
  void AppendRecipient(std::string* out, const DsnRecipient& recipient) const;
  std::string OriginalPart();
  std::string Header(const Dsn& dsn) const;
  void ChooseBoundary(std::string_view parts);

  const DsnRequest& request_;
  const size_t reported_;
  const std::string hostname_;
  const std::string mail_name_;
  size_t diagnostic_octets_max_;
  bool returned_whole_ = false;
  std::string boundary_;
};

// "rfc822; a@example.com", or the type of RFC 6533 3 where the address needs it.
std::string Builder::TypedAddress(std::string_view address) const {
  const std::string clean = Address(address);
  return fmt::format("{}; {}", IsAscii(clean) ? "rfc822" : "utf-8", clean);
}

// A diagnostic type is an atom (RFC 3464 2.1.2), whatever mail_name holds.
std::string Builder::DiagnosticType() const {
  std::string type = "X-" + mail_name_;
  for (char& c : type) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!fits) c = '-';
  }
  return type;
}

void Builder::AppendTextOfKind(std::string* out) const {
  switch (request_.kind) {
    case DsnAction::kFailed:
      out->append(
          "I'm sorry to have to inform you that your message could not\r\n"
          "be delivered to one or more recipients. It's attached below.\r\n");
      break;
    case DsnAction::kDelayed:
      out->append(
          "####################################################################\r\n"
          "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n"
          "####################################################################\r\n"
          "\r\n");
      out->append(
          fmt::format("Your message could not be delivered for more than {} hour(s).\r\n"
                      "It will be retried until it is {} day(s) old.\r\n",
                      absl::ToInt64Hours(request_.delay_warning_time),
                      absl::ToInt64Hours(request_.lifetime) / 24));
      break;
    case DsnAction::kRelayed:
    case DsnAction::kDelivered:
    case DsnAction::kExpanded:
      out->append(
          "Your message was successfully delivered to the destination(s)\r\n"
          "listed below. If the message was delivered to mailbox you will\r\n"
          "receive no further notifications. Otherwise you may still receive\r\n"
          "notifications of mail delivery errors from other systems.\r\n"
          "\r\n");
      return;
  }
  out->append(
      "\r\n"
      "For further assistance, please send mail to postmaster.\r\n"
      "\r\n"
      "If you do so, please include this problem report. You can\r\n"
      "delete your own text from the attached returned message.\r\n"
      "\r\n");
}

std::string Builder::TextPart() const {
  std::string body = fmt::format("This is the mail system at host {}.\r\n\r\n", hostname_);
  AppendTextOfKind(&body);
  body += fmt::format("                   The mail system\r\n");
  const size_t named = std::min(reported_, kTextRecipientsMax);
  for (size_t i = 0; i < named; ++i) {
    const DsnRecipient& recipient = request_.recipients[i];
    const std::string_view why = recipient.reason.empty() ? recipient.reply : recipient.reason;
    body += "\r\n";
    AppendFolded(&body, fmt::format("<{}>: {}", Address(recipient.address),
                                    OneLine(why, false, diagnostic_octets_max_)));
  }
  if (named < reported_) {
    body += fmt::format("\r\nand {} more recipients, listed in the attached delivery report.\r\n",
                        reported_ - named);
  }
  const bool ascii = IsAscii(body);
  return fmt::format(
      "Content-Description: Notification\r\n"
      "Content-Type: text/plain; charset={}\r\n"
      "{}\r\n{}",
      ascii ? "us-ascii" : "utf-8", ascii ? "" : "Content-Transfer-Encoding: 8bit\r\n", body);
}

void Builder::AppendRecipient(std::string* out, const DsnRecipient& recipient) const {
  *out += fmt::format("\r\nFinal-Recipient: {}\r\n", TypedAddress(recipient.address));
  if (!recipient.orcpt.empty()) {
    // It brought its type along, but for a submitter that forgot it.
    const bool typed = recipient.orcpt.find(';') != std::string::npos;
    *out += fmt::format("Original-Recipient: {}{}\r\n", typed ? "" : "rfc822;",
                        Address(recipient.orcpt));
  }
  *out += fmt::format("Action: {}\r\nStatus: {}\r\n", ActionName(recipient.action),
                      StatusOf(recipient).ToString());
  const std::string remote = OneLine(recipient.remote_mta, false, kNameOctetsMax);
  if (!remote.empty()) *out += fmt::format("Remote-MTA: dns; {}\r\n", remote);
  const std::string reply = OneLine(recipient.reply, false, diagnostic_octets_max_);
  const std::string reason = OneLine(recipient.reason, false, diagnostic_octets_max_);
  if (!reply.empty()) {
    AppendFolded(out, "Diagnostic-Code: smtp; " + reply);
  } else if (!reason.empty()) {
    AppendFolded(out, fmt::format("Diagnostic-Code: {}; {}", DiagnosticType(), reason));
  }
  if (recipient.last_attempt) {
    *out += fmt::format("Last-Attempt-Date: {}\r\n",
                        FormatDate(*recipient.last_attempt, request_.zone));
  }
  if (recipient.action == DsnAction::kDelayed && recipient.will_retry_until) {
    *out += fmt::format("Will-Retry-Until: {}\r\n",
                        FormatDate(*recipient.will_retry_until, request_.zone));
  }
}

std::string Builder::StatusPart() const {
  std::string body;
  const std::string envid = OneLine(request_.envid, false, kAddressOctetsMax);
  if (!envid.empty()) body += fmt::format("Original-Envelope-Id: {}\r\n", envid);
  body += fmt::format("Reporting-MTA: dns; {}\r\n", hostname_);
  body += fmt::format("{}-Queue-ID: {}\r\n", DiagnosticType(), request_.queue_id.ToString());
  body += fmt::format("{}-Sender: {}\r\n", DiagnosticType(), TypedAddress(request_.reverse_path));
  body += fmt::format("Arrival-Date: {}\r\n", FormatDate(request_.arrival, request_.zone));
  for (size_t i = 0; i < reported_; ++i) AppendRecipient(&body, request_.recipients[i]);
  return fmt::format(
      "Content-Description: Delivery report\r\n"
      "Content-Type: message/{}delivery-status\r\n"
      "{}\r\n{}",
      Global(), IsAscii(body) ? "" : "Content-Transfer-Encoding: 8bit\r\n", body);
}

// The original as far as it goes back; empty if nothing of it is at hand.
std::string Builder::OriginalPart() {
  const std::string_view original = request_.original;
  // RET governs failures; other reports return the header section: RFC 3461 4.3.
  returned_whole_ = request_.kind == DsnAction::kFailed && request_.ret != queue::Ret::kHeaders &&
                    request_.original_octets <= request_.bounce_size_limit &&
                    original.size() >= request_.original_octets;
  const size_t octets =
      returned_whole_ ? original.size() : HeaderSectionOctets(original, request_.bounce_size_limit);
  if (octets == 0) {
    returned_whole_ = false;
    return {};
  }
  std::string body;
  body.reserve(octets + 64);
  AppendOriginal(&body, original.substr(0, octets));
  const bool success = request_.kind != DsnAction::kFailed && request_.kind != DsnAction::kDelayed;
  std::string_view type = returned_whole_ ? "message/rfc822" : "text/rfc822-headers";
  if (request_.smtputf8) type = returned_whole_ ? "message/global" : "message/global-headers";
  return fmt::format(
      "Content-Description: {}Message{}\r\n"
      "Content-Type: {}\r\n"
      "{}\r\n{}",
      success ? "" : "Undelivered ", returned_whole_ ? "" : " Headers", type,
      IsAscii(body) ? "" : "Content-Transfer-Encoding: 8bit\r\n", body);
}

// A sender that could guess the boundary might forge parts: it is random, and here made
// longer until no part holds it.
void Builder::ChooseBoundary(std::string_view parts) {
  boundary_ = request_.boundary;
  while (parts.find(boundary_) != std::string_view::npos) boundary_ += '0';
}

std::string Builder::Header(const Dsn& dsn) const {
  std::string_view subject = "Successful Mail Delivery Report";
  if (request_.kind == DsnAction::kFailed) subject = "Undelivered Mail Returned to Sender";
  if (request_.kind == DsnAction::kDelayed) subject = "Delayed Mail (still being retried)";
  std::string header = fmt::format(
      "Date: {}\r\n"
      "From: MAILER-DAEMON@{} (Mail Delivery System)\r\n"
      "Subject: {}\r\n"
      "To: {}\r\n"
      "Auto-Submitted: auto-replied\r\n"
      "Message-Id: {}\r\n",
      FormatDate(request_.date, request_.zone), hostname_, subject, Address(request_.reverse_path),
      dsn.message_id);
  // RFC 3834 3.1.5, so that the report stands beside the message in the sender's mailbox.
  if (IsMessageId(request_.message_id)) {
    header += fmt::format("In-Reply-To: {}\r\nReferences: {}\r\n", request_.message_id,
                          request_.message_id);
  }
  header += fmt::format(
      "MIME-Version: 1.0\r\n"
      "Content-Type: multipart/report; report-type={}delivery-status;\r\n"
      "\tboundary=\"{}\"\r\n"
      "{}\r\n"
      "This is a MIME-encapsulated message.\r\n",
      Global(), boundary_, dsn.eight_bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
  return header;
}

Dsn Builder::Build() {
  const std::string text = TextPart();
  const std::string status = StatusPart();
  const std::string original = OriginalPart();
  ChooseBoundary(text + status + original);

  Dsn dsn;
  dsn.recipients_reported = reported_;
  dsn.returned_whole = returned_whole_;
  dsn.message_id =
      fmt::format("<{}.{}@{}>", absl::FormatTime("%Y%m%d%H%M%S", request_.date, request_.zone),
                  boundary_, hostname_);
  const bool addresses_ascii =
      IsAscii(text) && IsAscii(status) && IsAscii(Address(request_.reverse_path));
  dsn.eight_bit = !addresses_ascii || !IsAscii(original);
  // message/global in 8-bit form goes only where SMTPUTF8 is spoken: RFC 6532 3.7.
  dsn.smtputf8 = request_.smtputf8 && dsn.eight_bit;

  dsn.content = Header(dsn);
  dsn.content.reserve(dsn.content.size() + text.size() + status.size() + original.size() + 512);
  for (const std::string* part : {&text, &status, &original}) {
    if (!part->empty()) dsn.content += fmt::format("\r\n--{}\r\n{}", boundary_, *part);
  }
  dsn.content += fmt::format("\r\n--{}--\r\n", boundary_);
  return dsn;
}

}  // namespace

Dsn BuildDsn(const DsnRequest& request) { return Builder(request).Build(); }

}  // namespace mailrace::engine
