#include "transport/smtp/client_transaction.h"

#include <algorithm>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "transport/smtp/command_writer.h"

namespace mailrace::transport::smtp {

namespace {

using Result = OutgoingRecipient::Result;

constexpr int kServiceClosing = 421;
constexpr int kStartMailInput = 354;

// RFC 5321 4.5.3.1.10: some servers say 552 where they mean "too many recipients"; it
// is to be read as 452, and the rest of the recipients sent later.
Reply AsTooManyRecipients(Reply reply) {
  if (reply.code != 552) return reply;
  reply.code = 452;
  for (std::string& line : reply.lines) {
    if (EnhancedStatus::ParsePrefix(line) && line[0] == '5') line[0] = '4';
  }
  return reply;
}

// Unrecognised, not implemented, bad sequence. To a MAIL that travelled behind an end of
// data they mean that the server lost its place (it read the content as commands, or
// dropped what it had buffered); as a verdict on that message they would bounce it.
bool IsAboutTheDialogue(int code) { return code == 500 || code == 502 || code == 503; }

}  // namespace

ClientTransaction::ClientTransaction(OutgoingMessage* message, const Capabilities* capabilities,
                                     ClientTransactionOptions options)
    : message_(message), capabilities_(capabilities), options_(options) {
  message_->failure.reset();
  for (OutgoingRecipient& recipient : message_->recipients) {
    recipient.result = Result::kUntried;
    recipient.step = Step::kMail;
    recipient.reply.reset();
  }
  recipients_ = message_->recipients.size();
  begin_.step = options_.reset_before ? Step::kRset : Step::kMail;
  written_ = answered_ = begin_;
  if (std::optional<Reply> refusal = RefuseMessage(*message_, *capabilities_)) {
    RefuseOwn(*std::move(refusal));
    return;
  }
  // The others stay untried and come in another transaction.
  if (capabilities_->rcpt_max > 0) {
    recipients_ = std::min<size_t>(recipients_, capabilities_->rcpt_max);
  }
  bool any = false;
  for (size_t i = 0; i < recipients_; ++i) {
    OutgoingRecipient& recipient = message_->recipients[i];
    if (std::optional<Reply> refusal = RefuseRecipient(recipient, message_->smtputf8)) {
      recipient.result = Result::kRefused;
      recipient.step = Step::kRcpt;
      recipient.reply = std::move(refusal);
    } else {
      any = true;
    }
  }
  over_ = !any;
}

ClientTransaction::Position ClientTransaction::RecipientOrData(size_t from) const {
  // What was refused unsaid is not answered either. A refusal by the server cannot be
  // met here: the cursor that asks is the first to pass that recipient, or the one that
  // reads its reply.
  while (from < recipients_ && message_->recipients[from].reply.has_value() &&
         message_->recipients[from].step == Step::kRcpt) {
    ++from;
  }
  if (from == recipients_) return {Step::kData, 0};
  return {Step::kRcpt, from};
}

ClientTransaction::Position ClientTransaction::After(Position position) const {
  switch (position.step) {
    case Step::kRset:
      return {Step::kMail, 0};
    case Step::kMail:
      return RecipientOrData(0);
    case Step::kRcpt:
      return RecipientOrData(position.recipient + 1);
    case Step::kData:
      return {Step::kEndOfData, 0};
    default:
      return {kEnd, 0};
  }
}

bool ClientTransaction::WriteNext(Buffer* out) {
  if (over_ || (mail_refused_ && !lone_dot_)) return false;
  if (!options_.pipelining && !nothing_outstanding()) return false;
  switch (written_.step) {
    case Step::kRset:
      WriteCommand("RSET", "", out);
      break;
    case Step::kMail:
      WriteMail(*message_, *capabilities_, out);
      break;
    case Step::kRcpt:
      WriteRcpt(message_->recipients[written_.recipient], *capabilities_, out);
      break;
    case Step::kData:
      WriteCommand("DATA", "", out);
      break;
    case Step::kEndOfData:
      if (!lone_dot_) return false;
      // The line that the dot stands on began with the content, which is empty.
      out->Append(".\r\n");
      break;
    default:
      return false;
  }
  written_ = After(written_);
  return true;
}

bool ClientTransaction::wants_content() const {
  return !over_ && !lone_dot_ && written_.step == Step::kEndOfData && nothing_outstanding();
}

void ClientTransaction::ContentEnded() {
  message_->EndOfDataComes(recipients_);
  written_ = After(written_);
}

void ClientTransaction::RefuseOwn(Reply reply) {
  RefuseRest(Step::kMail, reply);
  message_->failure =
      Failure{Failure::Kind::kReply, Step::kMail, std::move(reply), std::string(kOwnReplyText)};
  over_ = true;
}

void ClientTransaction::SetRest(Result result, Step step) {
  for (size_t i = 0; i < recipients_; ++i) {
    if (!PendingAt(i)) continue;
    message_->recipients[i].result = result;
    message_->recipients[i].step = step;
  }
}

void ClientTransaction::RefuseRest(Step step, const Reply& reply) {
  for (size_t i = 0; i < recipients_; ++i) {
    if (PendingAt(i)) message_->recipients[i].reply = reply;
  }
  SetRest(Result::kRefused, step);
}

std::optional<Failure> ClientTransaction::Unexpected(Step step, Reply reply) {
  Failure failure{Failure::Kind::kProtocol, step};
  failure.text = fmt::format("unexpected reply to {}: {}", StepCommand(step), reply.ToString());
  failure.reply = std::move(reply);
  Break(failure);
  return failure;
}

std::optional<Failure> ClientTransaction::Answer(Reply reply) {
  const Position position = answered_;
  answered_ = After(answered_);
  switch (position.step) {
    case Step::kRset:
      return AnswerReset(std::move(reply));
    case Step::kMail:
      return AnswerMail(std::move(reply));
    case Step::kRcpt:
      return AnswerRcpt(position.recipient, std::move(reply));
    case Step::kData:
      return AnswerData(std::move(reply));
    default:
      return AnswerEnd(std::move(reply));
  }
}

// RFC 5321 3.8: the server closes after a 421. It has answered one command; nothing is
// known about the others.
std::optional<Failure> ClientTransaction::EndIfClosing(Step step, const Reply& reply) {
  if (reply.code != kServiceClosing) return std::nullopt;
  over_ = true;
  return Failure{Failure::Kind::kReply, step, reply};
}

// With everything answered and no recipient left there is nothing to send DATA for.
void ClientTransaction::EndIfPointless() {
  if (nothing_outstanding() && (mail_refused_ || written_.step == Step::kData) && accepted_ == 0) {
    over_ = true;
  }
}

// The session ends, and the message knows nothing of it.
Failure ClientTransaction::EndUntried(Failure failure) {
  failure.stale_session = true;
  message_->failure = failure;
  over_ = true;
  return failure;
}

std::optional<Failure> ClientTransaction::AnswerReset(Reply reply) {
  if (reply.positive()) return std::nullopt;
  // A server that cannot even do that is in no state to take a message.
  return EndUntried({Failure::Kind::kReply, Step::kRset, std::move(reply)});
}

std::optional<Failure> ClientTransaction::AnswerMail(Reply reply) {
  if (reply.intermediate()) return Unexpected(Step::kMail, std::move(reply));
  if (reply.positive()) {
    mail_accepted_ = true;
    return std::nullopt;
  }
  if (reply.code == kServiceClosing && options_.session_used_before) {
    return EndUntried({Failure::Kind::kReply, Step::kMail, std::move(reply)});
  }
  if (options_.behind_end_of_data && IsAboutTheDialogue(reply.code)) {
    return EndUntried({Failure::Kind::kProtocol, Step::kMail, std::move(reply),
                       "out of step behind the end of data"});
  }
  mail_refused_ = true;
  RefuseRest(Step::kMail, reply);
  EndIfPointless();
  return EndIfClosing(Step::kMail, reply);
}

std::optional<Failure> ClientTransaction::AnswerRcpt(size_t index, Reply reply) {
  if (reply.intermediate()) return Unexpected(Step::kRcpt, std::move(reply));
  if (mail_refused_) {
    EndIfPointless();
    return EndIfClosing(Step::kRcpt, reply);
  }
  if (reply.positive()) {
    ++accepted_;
    return std::nullopt;
  }
  OutgoingRecipient& recipient = message_->recipients[index];
  recipient.result = Result::kRefused;
  recipient.step = Step::kRcpt;
  recipient.reply = AsTooManyRecipients(std::move(reply));
  EndIfPointless();
  return EndIfClosing(Step::kRcpt, *recipient.reply);
}

std::optional<Failure> ClientTransaction::AnswerData(Reply reply) {
  if (reply.code == kStartMailInput) {
    lone_dot_ = accepted_ == 0;
    return std::nullopt;
  }
  // Content goes out after a 354 and nothing else (RFC 5321 3.3).
  if (reply.positive() || reply.intermediate()) return Unexpected(Step::kData, std::move(reply));
  RefuseRest(Step::kData, reply);
  over_ = true;
  return EndIfClosing(Step::kData, reply);
}

std::optional<Failure> ClientTransaction::AnswerEnd(Reply reply) {
  if (reply.intermediate()) return Unexpected(Step::kEndOfData, std::move(reply));
  end_answered_ = true;
  over_ = true;
  // After a lone dot nobody is left to whom the reply could matter.
  if (!reply.positive()) {
    RefuseRest(Step::kEndOfData, reply);
    return EndIfClosing(Step::kEndOfData, reply);
  }
  for (size_t i = 0; i < recipients_; ++i) {
    if (PendingAt(i)) message_->recipients[i].reply = reply;
  }
  SetRest(Result::kAccepted, Step::kEndOfData);
  return std::nullopt;
}

void ClientTransaction::AnswerEarly(Reply reply) {
  RefuseRest(written_.step == Step::kEndOfData ? Step::kBody : Step::kEndOfData, reply);
  over_ = true;
}

void ClientTransaction::Break(const Failure& failure) {
  if (over_) return;
  over_ = true;
  if (written_.step == kEnd) {
    if (lone_dot_) return;
    message_->failure = failure;
    message_->failure->step = Step::kEndOfData;
    SetRest(Result::kUncertain, Step::kEndOfData);
    return;
  }
  const bool before_use = !said() || failure.step == Step::kRset ||
                          (failure.step == Step::kMail && options_.session_used_before &&
                           failure.kind == Failure::Kind::kLost);
  if (before_use) {
    EndUntried(failure);
    return;
  }
  message_->failure = failure;
  SetRest(Result::kFailed, failure.step);
}

}  // namespace mailrace::transport::smtp
