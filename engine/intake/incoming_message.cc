#include "engine/intake/incoming_message.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/address.h"
#include "base/text.h"
#include "engine/intake/trace_header.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// The section must end within the first body record, which our fields go in front of.
constexpr size_t kHeaderOctetsMost = queue::kChunkOctetsMax / 2;

queue::Ret ToRet(transport::smtp::ReturnType ret) {
  switch (ret) {
    case transport::smtp::ReturnType::kUnset:
      return queue::Ret::kUnset;
    case transport::smtp::ReturnType::kFull:
      return queue::Ret::kFull;
    case transport::smtp::ReturnType::kHeaders:
      return queue::Ret::kHeaders;
  }
  return queue::Ret::kUnset;
}

uint8_t ToNotify(uint8_t bits) {
  using transport::smtp::RcptCommand;
  uint8_t notify = 0;
  if ((bits & RcptCommand::kNever) != 0) notify |= queue::kNotifyNever;
  if ((bits & RcptCommand::kSuccess) != 0) notify |= queue::kNotifySuccess;
  if ((bits & RcptCommand::kFailure) != 0) notify |= queue::kNotifyFailure;
  if ((bits & RcptCommand::kDelay) != 0) notify |= queue::kNotifyDelay;
  return notify;
}

}  // namespace

std::string QueueRefusal(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? "452 4.3.1 Insufficient system storage"
                                           : "451 4.3.0 Error: queue file write error";
}

IncomingMessage::IncomingMessage(Acceptor* acceptor, const IntakeOptions* options)
    : acceptor_(acceptor), options_(options) {}

void IncomingMessage::Begin(const transport::smtp::MailCommand& mail, absl::Time arrival,
                            MonoTime now) {
  Abandon();
  mail_time_ = now;
  envelope_.arrival = arrival;
  envelope_.reverse_path = mail.reverse_path;
  envelope_.envid = mail.envid;
  envelope_.ret = ToRet(mail.ret);
  envelope_.smtputf8 = mail.smtputf8;
}

void IncomingMessage::AddRecipient(const transport::smtp::RcptCommand& rcpt) {
  if (!begun_) {
    begun_ = true;
    envelope_.id = acceptor_->NewId();
    headers_ = HeaderScan(std::min(options_->header_size_limit, kHeaderOctetsMost));
    const MessageRules& rules = options_->rules;
    if (rules.has_headers()) headers_.LookFor(rules.class_header, rules.tenant_header);
  }
  queue::Recipient recipient;
  recipient.address = rcpt.forward_path;
  if (recipient.address.find('@') == std::string::npos) {
    recipient.address +=
        "@" + (options_->myorigin.empty() ? options_->myhostname : options_->myorigin);
  }
  recipient.orcpt = rcpt.orcpt;
  recipient.notify = ToNotify(rcpt.notify);
  envelope_.recipients.push_back(std::move(recipient));
}

void IncomingMessage::SetSource(Source source) {
  source_ = std::move(source);
  envelope_.submitter = source_.submitter;
}

Task<void> IncomingMessage::Store() {
  if (!refusal_.empty()) {
    content_.clear();
    co_return;
  }
  if (!stamped_ && !content_.empty()) {
    headers_.Scan(content_, /*complete=*/false);
    if (headers_.done()) Stamp();
  }
  while (stamped_ && refusal_.empty() && content_.size() > queue::kChunkOctetsMax) {
    auto chunk = std::make_shared<const std::string>(content_, 0, queue::kChunkOctetsMax);
    content_.erase(0, queue::kChunkOctetsMax);
    envelope_.octets += chunk->size();
    const uint32_t number = envelope_.chunks++;
    const absl::Status stored =
        co_await acceptor_->PutChunk(envelope_.id, number, std::move(chunk));
    if (!stored.ok()) refusal_ = QueueRefusal(stored);
  }
}

// Nobody gets a message twice because he is in To and Cc, as in Postfix (duplicate_filter_limit).
// With other wishes for notices an address stays another recipient. The domain is the same in any
// case (RFC 5321 2.4).
void IncomingMessage::RemoveRepeatedRecipients() {
  std::vector<queue::Recipient>& recipients = envelope_.recipients;
  if (recipients.size() < 2) return;
  absl::flat_hash_set<std::string> seen;
  seen.reserve(recipients.size());
  const auto repeated = [&seen](const queue::Recipient& recipient) {
    const std::string_view address = recipient.address;
    const size_t at = std::min(address.rfind('@'), address.size());
    return !seen.insert(fmt::format("{}{}\n{}\n{}", address.substr(0, at),
                                    AsciiLowered(address.substr(at)), recipient.notify,
                                    recipient.orcpt))
                .second;
  };
  recipients.erase(std::remove_if(recipients.begin(), recipients.end(), repeated),
                   recipients.end());
}

// Our fields go to the very top, so that what the client sent stays as it was sent.
void IncomingMessage::Stamp() {
  stamped_ = true;
  RemoveRepeatedRecipients();
  refusal_ = HeaderRefusal();
  if (!refusal_.empty()) return;
  envelope_.smtputf8 = envelope_.smtputf8 && NeedsSmtpUtf8();
  label_problem_ = options_->rules.Apply({headers_.message_class(), headers_.tenant()},
                                         source_.listener, &envelope_);
  if (!options_->rules.keep_headers) RemoveLabels();
  std::string fields = ReceivedField(
      {.helo_name = source_.helo_name,
       .peer = source_.peer,
       .authenticated_sender =
           options_->smtpd_sasl_authenticated_header ? std::string_view(source_.submitter) : "",
       .myhostname = options_->myhostname,
       .mail_name = options_->mail_name,
       .protocol = source_.protocol,
       .id = envelope_.id,
       .recipient = envelope_.recipients.size() == 1 ? envelope_.recipients[0].address : "",
       .time = envelope_.arrival});
  envelope_.message_id = headers_.message_id();
  if (options_->always_add_missing_headers) {
    if (!headers_.has_message_id()) {
      envelope_.message_id = NewMessageId(envelope_.arrival, envelope_.id, options_->myhostname);
      fields += fmt::format("Message-Id: {}\r\n", envelope_.message_id);
    }
    if (!headers_.has_date()) fields += fmt::format("Date: {}\r\n", MailDate(envelope_.arrival));
  }
  // A first line that begins with a blank would become a part of our last field.
  if (headers_.begins_folded()) fields += "\r\n";
  content_.insert(0, fields);
}

// In one go over the header section, however many there are.
void IncomingMessage::RemoveLabels() {
  const std::vector<HeaderScan::Range>& ranges = headers_.label_ranges();
  if (ranges.empty()) return;
  size_t to = ranges.front().begin;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const size_t from = ranges[i].end;
    const size_t end = i + 1 < ranges.size() ? ranges[i + 1].begin : headers_.section_octets();
    std::copy(content_.begin() + static_cast<std::ptrdiff_t>(from),
              content_.begin() + static_cast<std::ptrdiff_t>(end),
              content_.begin() + static_cast<std::ptrdiff_t>(to));
    to += end - from;
  }
  content_.erase(to, headers_.section_octets() - to);
}

std::string IncomingMessage::HeaderRefusal() const {
  if (headers_.too_large()) return "552 5.3.4 Error: message header too big";
  if (headers_.received_fields() > options_->hopcount_limit) {
    return "554 5.4.6 Error: too many hops";
  }
  const std::string_view section = std::string_view(content_).substr(0, headers_.section_octets());
  if (envelope_.smtputf8 && !IsValidUtf8(section)) {
    return "550 5.6.7 Error: message header is not valid UTF-8";
  }
  return {};
}

// Some clients (Go's net/smtp) ask for SMTPUTF8 whenever it is offered. What has nothing
// internationalised in it goes to any relay, as in Postfix.
bool IncomingMessage::NeedsSmtpUtf8() const {
  const std::string_view section = std::string_view(content_).substr(0, headers_.section_octets());
  return !IsAscii(envelope_.reverse_path) || !IsAscii(section) ||
         std::any_of(envelope_.recipients.begin(), envelope_.recipients.end(),
                     [](const queue::Recipient& recipient) {
                       return !IsAscii(recipient.address) || !IsAscii(recipient.orcpt);
                     });
}

std::string IncomingMessage::Finish(bool eight_bit) {
  if (refusal_.empty() && !stamped_) {
    headers_.Scan(content_, /*complete=*/true);
    Stamp();
  }
  if (!refusal_.empty()) return refusal_;
  envelope_.eight_bit = eight_bit;
  envelope_.octets += content_.size();
  ++envelope_.chunks;
  return {};
}

queue::Octets IncomingMessage::TakeContent() {
  auto content = std::make_shared<const std::string>(std::move(content_));
  content_.clear();
  return content;
}

queue::Envelope IncomingMessage::TakeEnvelope() {
  queue::Envelope envelope = std::move(envelope_);
  envelope_ = {};
  Abandon();
  return envelope;
}

void IncomingMessage::Abandon() {
  if (begun_ && envelope_.chunks > 0) acceptor_->Abandon(envelope_.id, envelope_.chunks);
  begun_ = false;
  stamped_ = false;
  envelope_ = {};
  content_.clear();
  content_.shrink_to_fit();
  label_problem_.clear();
  refusal_.clear();
}

}  // namespace mailrace::engine
