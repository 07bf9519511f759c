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
constexpr size_t kAddressOctetsMax = 600;         // An original recipient may be in xtext.
constexpr size_t kEncodedAddressOctetsMax = 900;  // On one line with its field's name.
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

// Octets as a part carries them, and how it says so.
struct Encoded {
  std::string_view field;  // Content-Transfer-Encoding, or nothing for plain ASCII.
  std::string body;
};

// `native`: 8-bit octets may stay what they are. Else they are quoted, so that the part
// passes everywhere.
Encoded Encode(std::string body, bool native) {
  if (IsAscii(body)) return {"", std::move(body)};
  if (native) return {"Content-Transfer-Encoding: 8bit\r\n", std::move(body)};
  std::string quoted;
  quoted.reserve(body.size() + body.size() / 4);
  AppendQuotedPrintable(&quoted, body);
  return {"Content-Transfer-Encoding: quoted-printable\r\n", std::move(quoted)};
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
        to_(request.postmaster.empty() ? request.reverse_path : request.postmaster),
        global_(request.smtputf8 && !IsAscii(to_) && IsValidUtf8(to_)),
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
  std::string_view Global() const { return global_ ? "global-" : ""; }
  std::string TypedAddress(std::string_view address) const;
  std::string OriginalRecipient(std::string_view orcpt) const;
  std::string DiagnosticType() const;

  std::string TextPart() const;
  void AppendFailureText(std::string* out) const;
  void AppendDelayText(std::string* out) const;
  void AppendSuccessText(std::string* out) const;
  void AppendTextOfKind(std::string* out) const;
  std::string StatusPart() const;
  void AppendRecipient(std::string* out, const DsnRecipient& recipient) const;
  void ChooseWhatReturns();
  std::string OriginalPart() const;
  std::string_view Subject() const;
  std::string Header(const Dsn& dsn) const;
  void ChooseBoundary(std::string_view parts);

  const DsnRequest& request_;
  const size_t reported_;
  const std::string_view to_;  // Whom it is for.
  const bool global_;          // It travels with SMTPUTF8, and so may be UTF-8 throughout.
  const std::string hostname_;
  const std::string mail_name_;
  size_t diagnostic_octets_max_;
  size_t returned_octets_ = 0;  // Of the original; 0: nothing.
  bool returned_whole_ = false;
  bool global_original_ = false;  // Its header section is UTF-8.
  std::string boundary_;
};

// "rfc822; a@example.com", or the type of RFC 6533 3 where the address needs it.
std::string Builder::TypedAddress(std::string_view address) const {
  const std::string clean = Address(address);
  if (IsAscii(clean)) return fmt::format("rfc822; {}", clean);
  if (global_) return fmt::format("utf-8; {}", clean);
  return fmt::format("utf-8; {}", Utf8AddrXtext(clean).substr(0, kEncodedAddressOctetsMax));
}

// It brought its type along, but for a submitter that forgot it. Of the three forms of a
// utf-8 address the one that fits here: RFC 6533 3.
std::string Builder::OriginalRecipient(std::string_view orcpt) const {
  const size_t semicolon = orcpt.find(';');
  const std::string type = semicolon == std::string_view::npos
                               ? "rfc822"
                               : OneLine(orcpt.substr(0, semicolon), false, kAddressOctetsMax);
  const std::string_view rest = orcpt.substr(semicolon + 1);  // All of it without a type.
  if (!EqualsIgnoreCase(type, "utf-8")) {
    // Only the type "utf-8" has a spelling for where UTF-8 does not pass (RFC 6533 3).
    return fmt::format("{};{}", type, OneLine(rest, global_, kAddressOctetsMax));
  }
  const std::string native = Address(DecodeUtf8Addr(Address(rest)));
  if (global_) return fmt::format("{};{}", type, native);
  return fmt::format("{};{}", type, Utf8AddrXtext(native).substr(0, kEncodedAddressOctetsMax));
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

void Builder::AppendFailureText(std::string* out) const {
  const std::string_view attached = returned_octets_ == 0 ? ""
                                    : returned_whole_     ? " It's attached below."
                                                          : " Its header is attached below.";
  if (request_.reverse_path.empty()) {
    *out += fmt::format(
        "A message with a null sender, such as a notification, could not\r\n"
        "be delivered to one or more recipients.{}\r\n",
        attached);
  } else if (!request_.postmaster.empty()) {
    *out += fmt::format(
        "A message could not be delivered to one or more recipients, and\r\n"
        "its sender was told so.{}\r\n",
        attached);
  } else {
    *out += fmt::format(
        "I'm sorry to have to inform you that your message could not\r\n"
        "be delivered to one or more recipients.{}\r\n",
        attached);
  }
  *out +=
      "\r\n"
      "No further attempt will be made for the recipients below.\r\n";
}

void Builder::AppendDelayText(std::string* out) const {
  if (request_.postmaster.empty()) {
    out->append(
        "####################################################################\r\n"
        "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n"
        "####################################################################\r\n"
        "\r\n");
  }
  *out += fmt::format(
      "{} could not be delivered for more than {}.\r\n"
      "It will be retried until it is {} old.\r\n",
      request_.postmaster.empty() ? "Your message" : "A message",
      DurationWords(request_.delay_warning_time), DurationWords(request_.lifetime));
}

void Builder::AppendSuccessText(std::string* out) const {
  if (request_.kind == DsnAction::kRelayed) {
    out->append(
        "Your message was handed to the mail system of the destination(s)\r\n"
        "listed below, which does not give delivery reports. You will receive\r\n"
        "no confirmation of its further way, but you may still receive\r\n"
        "notifications of mail delivery errors from other systems.\r\n"
        "\r\n");
    return;
  }
  out->append(
      "Your message was successfully delivered to the destination(s)\r\n"
      "listed below. If the message was delivered to mailbox you will\r\n"
      "receive no further notifications. Otherwise you may still receive\r\n"
      "notifications of mail delivery errors from other systems.\r\n"
      "\r\n");
}

void Builder::AppendTextOfKind(std::string* out) const {
  switch (request_.kind) {
    case DsnAction::kFailed:
      AppendFailureText(out);
      break;
    case DsnAction::kDelayed:
      AppendDelayText(out);
      break;
    case DsnAction::kRelayed:
    case DsnAction::kDelivered:
    case DsnAction::kExpanded:
      AppendSuccessText(out);
      return;
  }
  if (!request_.postmaster.empty()) {
    out->append("\r\n");
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
  body += "                   The mail system\r\n";
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
  const std::string_view charset = IsAscii(body) ? "us-ascii" : "utf-8";
  const Encoded encoded = Encode(std::move(body), global_);
  return fmt::format(
      "Content-Description: Notification\r\n"
      "Content-Type: text/plain; charset={}\r\n"
      "{}\r\n{}",
      charset, encoded.field, encoded.body);
}

void Builder::AppendRecipient(std::string* out, const DsnRecipient& recipient) const {
  *out += fmt::format("\r\nFinal-Recipient: {}\r\n", TypedAddress(recipient.address));
  if (!recipient.orcpt.empty()) {
    *out += fmt::format("Original-Recipient: {}\r\n", OriginalRecipient(recipient.orcpt));
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
  if (!request_.reverse_path.empty()) {
    body += fmt::format("{}-Sender: {}\r\n", DiagnosticType(), TypedAddress(request_.reverse_path));
  }
  body += fmt::format("Arrival-Date: {}\r\n", FormatDate(request_.arrival, request_.zone));
  for (size_t i = 0; i < reported_; ++i) AppendRecipient(&body, request_.recipients[i]);
  return fmt::format(
      "Content-Description: Delivery report\r\n"
      "Content-Type: message/{}delivery-status\r\n"
      "{}\r\n{}",
      Global(), IsAscii(body) ? "" : "Content-Transfer-Encoding: 8bit\r\n", body);
}

void Builder::ChooseWhatReturns() {
  const std::string_view original = request_.original;
  // RET governs failures; other reports return the header section: RFC 3461 4.3. So do
  // copies, whose reader is not concerned.
  returned_whole_ = request_.kind == DsnAction::kFailed && request_.ret != queue::Ret::kHeaders &&
                    request_.original_octets <= request_.bounce_size_limit &&
                    original.size() >= request_.original_octets &&
                    (request_.postmaster.empty() || request_.reverse_path.empty());
  // The types of RFC 6532 and 6533 are for headers in UTF-8, and may be encoded;
  // message/rfc822 may not be (RFC 2046 5.2.1).
  const size_t header = HeaderSectionOctets(original, request_.bounce_size_limit);
  global_original_ = request_.smtputf8 && !IsAscii(original.substr(0, header));
  if (request_.seven_bit && !global_original_ && !IsAscii(original)) returned_whole_ = false;
  returned_octets_ = returned_whole_ ? original.size() : header;
  if (returned_octets_ == 0) returned_whole_ = false;
}

// The original as far as it goes back; empty if nothing of it is at hand.
std::string Builder::OriginalPart() const {
  if (returned_octets_ == 0) return {};
  std::string body;
  body.reserve(returned_octets_ + 64);
  AppendOriginal(&body, request_.original.substr(0, returned_octets_));
  std::string_view type = returned_whole_ ? "message/rfc822" : "text/rfc822-headers";
  if (global_original_) type = returned_whole_ ? "message/global" : "message/global-headers";
  const bool native = global_original_ ? global_ : returned_whole_ || !request_.seven_bit;
  const bool success = request_.kind != DsnAction::kFailed && request_.kind != DsnAction::kDelayed;
  const Encoded encoded = Encode(std::move(body), native);
  return fmt::format(
      "Content-Description: {}Message{}\r\n"
      "Content-Type: {}\r\n"
      "{}\r\n{}",
      success ? "" : "Undelivered ", returned_whole_ ? "" : " Headers", type, encoded.field,
      encoded.body);
}

// A sender that could guess the boundary might forge parts: it is random, and here made
// longer until no part holds it.
void Builder::ChooseBoundary(std::string_view parts) {
  boundary_ = request_.boundary;
  while (parts.find(boundary_) != std::string_view::npos) boundary_ += '0';
}

std::string_view Builder::Subject() const {
  const bool copy = !request_.postmaster.empty();
  switch (request_.kind) {
    case DsnAction::kFailed:
      if (!copy) return "Undelivered Mail Returned to Sender";
      return request_.reverse_path.empty() ? "Postmaster Copy: Undelivered Bounce"
                                           : "Postmaster Copy: Undelivered Mail";
    case DsnAction::kDelayed:
      return copy ? "Postmaster Warning: Delayed Mail" : "Delayed Mail (still being retried)";
    default:
      return "Successful Mail Delivery Report";
  }
}

std::string Builder::Header(const Dsn& dsn) const {
  std::string header = fmt::format(
      "Date: {}\r\n"
      "From: MAILER-DAEMON@{} (Mail Delivery System)\r\n"
      "Subject: {}\r\n"
      "To: {}\r\n"
      "Auto-Submitted: auto-replied\r\n"
      "Message-Id: {}\r\n",
      FormatDate(request_.date, request_.zone), hostname_, Subject(), Address(to_), dsn.message_id);
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
  ChooseWhatReturns();
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
  // Where SMTPUTF8 is spoken 8-bit content is (RFC 6531 3.1).
  dsn.smtputf8 = global_;
  dsn.eight_bit = global_ || !IsAscii(text) || !IsAscii(status) || !IsAscii(original);

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
