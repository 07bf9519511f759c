#include "transport/smtp/client_transaction.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/text.h"
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

// Of the count (RFC 5321 4.5.3.1.10, RFC 3463 X.5.3), not of a mailbox or a full disk.
bool SaysTooManyRecipients(const Reply& reply) {
  if (reply.lines.empty()) return false;
  if (EnhancedStatus::ParsePrefix(reply.lines[0])) {
    const EnhancedStatus status = reply.enhanced();
    return status.subject == 5 && status.detail == 3;
  }
  const std::string text = AsciiLowered(reply.ToString());
  return text.find("too many") != text.npos && text.find("recipient") != text.npos;
}

// A server's limit of messages in a session, where it has no 421 for that: "452 4.5.3 Too many
// messages sent" (OpenSMTPD).
bool SaysTooManyMessages(const Reply& reply) {
  if (!reply.transient()) return false;
  const EnhancedStatus status = reply.enhanced();
  if (status.subject == 5 && status.detail == 3) return true;
  const std::string text = AsciiLowered(reply.ToString());
  return text.find("too many") != text.npos &&
         (text.find("messages") != text.npos || text.find("mails") != text.npos ||
          text.find("transactions") != text.npos);
}

// Unrecognised, not implemented, bad sequence; or the server says in words or by RFC 3463
// X.5.0 and X.5.1 that the dialogue, not the mail, displeases it. To what travelled behind an
// end of data they mean that the server lost its place (it read the content as commands, or
// dropped what it had buffered) or does not want to be spoken to so; as a verdict on that
// message they would bounce it.
bool IsAboutTheDialogue(const Reply& reply) {
  if (reply.code == 500 || reply.code == 502 || reply.code == 503) return true;
  if (!reply.permanent()) return false;
  const EnhancedStatus status = reply.enhanced();
  if (status.subject == 5 && status.detail <= 1) return true;
  const std::string text = AsciiLowered(reply.ToString());
  return text.find("pipelin") != text.npos || text.find("synchroni") != text.npos;
}

// "MAIL first" where MAIL was accepted, "no valid recipients" where some are: the server has lost
// its place and contradicts itself, which is a verdict on nobody. Asked one thing at a time it
// means what else it says of the dialogue.
bool Contradicts(const Reply& reply, bool pipelining) {
  if (pipelining) return IsAboutTheDialogue(reply);
  const EnhancedStatus status = reply.enhanced();
  return reply.code == 503 ||
         (reply.permanent() && status.subject == 5 && status.detail <= 1 && reply.code == 554);
}

// The same of BDAT, where the server itself offered CHUNKING.
bool IsAboutChunking(const Reply& reply) {
  return reply.code == 501 || reply.code == 504 || IsAboutTheDialogue(reply);
}

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
  if (options_.recipients_max > 0) recipients_ = std::min(recipients_, options_.recipients_max);
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
  if (from == recipients_) return {options_.chunking ? Step::kBody : Step::kData, 0};
  return {Step::kRcpt, from};
}

ClientTransaction::Position ClientTransaction::After(Position position) const {
  switch (position.step) {
    case Step::kRset:
      return {Step::kMail, 0};
    case Step::kMail:
      return RecipientOrData(0);
    case Step::kRcpt:
      return RecipientOrData(position.number + 1);
    case Step::kData:
      return {Step::kEndOfData, 0};
    case Step::kBody:
      if (position == last_chunk_) return {kEnd, 0};
      return {Step::kBody, position.number + 1};
    default:
      return {kEnd, 0};
  }
}

bool ClientTransaction::WriteNext(Buffer* out) {
  if (over_ || out_of_step_ || (mail_refused_ && !lone_dot_)) return false;
  if (!options_.pipelining && !nothing_outstanding()) return false;
  switch (written_.step) {
    case Step::kRset:
      WriteCommand("RSET", "", out);
      break;
    case Step::kMail:
      WriteMail(*message_, *capabilities_, out);
      break;
    case Step::kRcpt:
      WriteRcpt(message_->recipients[written_.number], *capabilities_, out);
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
  if (options_.chunking) {
    if (over_ || written_.step != Step::kBody || pointless()) return false;
    const bool envelope_answered = answered_.step == Step::kBody;
    if (!envelope_answered && !options_.streamed) return false;
    return written_.number - (envelope_answered ? answered_.number : 0) < kChunksMax;
  }
  return !over_ && !lone_dot_ && written_.step == Step::kEndOfData && nothing_outstanding();
}

void ClientTransaction::ContentEnded() {
  message_->EndOfDataComes(recipients_);
  written_ = After(written_);
}

void ClientTransaction::WriteChunk(std::string_view octets, bool last, Buffer* out) {
  const fmt::format_int size(octets.size());
  out->Append("BDAT ");
  out->Append({size.data(), size.size()});
  out->Append(last ? " LAST\r\n" : "\r\n");
  out->Append(octets);
  if (last) {
    message_->EndOfDataComes(recipients_);
    last_chunk_ = written_;
  }
  written_ = After(written_);
}

void ClientTransaction::GiveUpContent(const Failure& failure) {
  message_->failure = failure;
  SetRest(Result::kFailed, failure.step);
  content_ended_early_ = true;
  EndIfPointless();
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

void ClientTransaction::RefuseContent(Step step, const Reply& reply) {
  if (too_many_ && reply.permanent() && SaysTooManyRecipients(reply)) {
    const Reply said = *message_->recipients[*too_many_].reply;
    RefuseRest(Step::kRcpt, said);
  } else {
    RefuseRest(step, reply);
  }
}

void ClientTransaction::WithdrawRefusals() {
  too_many_.reset();
  for (size_t i = 0; i < recipients_; ++i) {
    OutgoingRecipient& recipient = message_->recipients[i];
    const bool by_server = recipient.result == Result::kRefused &&
                           !RefuseRecipient(recipient, message_->smtputf8).has_value();
    if (!by_server) continue;
    recipient.result = Result::kUntried;
    recipient.step = Step::kMail;
    recipient.reply.reset();
  }
}

std::optional<Failure> ClientTransaction::Unexpected(Step step, Reply reply) {
  Failure failure{Failure::Kind::kProtocol, step};
  failure.text = fmt::format("unexpected reply to {}: {}", StepCommand(step), reply.ToString());
  failure.reply = std::move(reply);
  Break(failure);
  return failure;
}

std::optional<Failure> ClientTransaction::Answer(Reply reply) {
  std::optional<Failure> failure = Interpret(std::move(reply));
  if (!failure && !lone_dot_) EndIfPointless();
  return failure;
}

std::optional<Failure> ClientTransaction::Interpret(Reply reply) {
  const Position position = answered_;
  answered_ = After(answered_);
  switch (position.step) {
    case Step::kRset:
      return AnswerReset(std::move(reply));
    case Step::kMail:
      return AnswerMail(std::move(reply));
    case Step::kRcpt:
      return AnswerRcpt(position.number, std::move(reply));
    case Step::kData:
      return AnswerData(std::move(reply));
    case Step::kBody:
      return position == last_chunk_ ? AnswerLastChunk(std::move(reply))
                                     : AnswerChunk(std::move(reply));
    default:
      return AnswerEnd(std::move(reply));
  }
}

// RFC 5321 3.8: the server closes after a 421. It has answered one command; nothing is
// known about the others, until it has closed indeed.
std::optional<Failure> ClientTransaction::EndIfClosing(Step step, const Reply& reply) {
  if (reply.code != kServiceClosing) return std::nullopt;
  over_ = !options_.streamed || nothing_outstanding();
  return Failure{Failure::Kind::kReply, step, reply};
}

// With everything answered and nobody left there is nothing to send content for.
void ClientTransaction::EndIfPointless() {
  if (nothing_outstanding() && pointless()) over_ = true;
}

// The session ends, and the message was not judged: it may be said again elsewhere. What
// follows of a streamed one is still to be answered.
Failure ClientTransaction::EndUntried(Failure failure) {
  failure.stale_session = true;
  message_->failure = failure;
  over_ = !options_.streamed || nothing_outstanding();
  return failure;
}

std::optional<Failure> ClientTransaction::FallOutOfStep(Step step, Reply reply,
                                                        std::string_view what) {
  Failure failure{Failure::Kind::kProtocol, step, std::move(reply)};
  failure.text = fmt::format("{}: {}", what, failure.reply->ToString());
  failure = EndUntried(std::move(failure));
  out_of_step_ = true;
  if (step == Step::kMail) mail_refused_ = true;
  if (step == Step::kBody || step == Step::kEndOfData) content_ended_early_ = true;
  return failure;
}

bool ClientTransaction::Plausible(Step step, const Reply& reply) {
  if (options_.tolerance == nullptr) return true;
  // Without a 354 nothing else shows that both are in step.
  if (options_.chunking) return options_.tolerance->Fits(step, reply);
  options_.tolerance->Learn(step, reply);
  return true;
}

std::optional<Failure> ClientTransaction::AnswerReset(Reply reply) {
  if (reply.positive()) return std::nullopt;
  // A server that cannot even do that is in no state to take a message.
  if (options_.streamed && reply.code != kServiceClosing) {
    return FallOutOfStep(Step::kRset, std::move(reply), "RSET was refused");
  }
  return EndUntried({Failure::Kind::kReply, Step::kRset, std::move(reply)});
}

std::optional<Failure> ClientTransaction::AnswerMail(Reply reply) {
  if (out_of_step_) {
    return EndIfClosing(Step::kMail, reply);
  }
  if (reply.intermediate()) return Unexpected(Step::kMail, std::move(reply));
  if (reply.positive()) {
    if (!Plausible(Step::kMail, reply)) return Unexpected(Step::kMail, std::move(reply));
    mail_accepted_ = true;
    return std::nullopt;
  }
  if (reply.code == kServiceClosing && options_.session_used_before) {
    const Failure failure = EndUntried({Failure::Kind::kReply, Step::kMail, std::move(reply)});
    over_ = true;  // Whatever comes behind it, no MAIL was accepted.
    return failure;
  }
  // It is the session that has had its share; a new one has another. What a server says so to the
  // first message of a session, it means.
  if (options_.session_used_before && SaysTooManyMessages(reply)) {
    mail_refused_ = true;
    return EndUntried({Failure::Kind::kReply, Step::kMail, std::move(reply)});
  }
  if (options_.behind_end_of_data && IsAboutTheDialogue(reply)) {
    return FallOutOfStep(Step::kMail, std::move(reply), "out of step behind the end of data");
  }
  // It may be a word too many about the message before.
  if (options_.session_used_before && IsAboutTheDialogue(reply)) {
    return FallOutOfStep(Step::kMail, std::move(reply), "out of step behind another message");
  }
  mail_refused_ = true;
  RefuseRest(Step::kMail, reply);
  std::optional<Failure> failure = EndIfClosing(Step::kMail, reply);
  if (failure) over_ = true;
  return failure;
}

std::optional<Failure> ClientTransaction::AnswerRcpt(size_t index, Reply reply) {
  if (mail_refused_ || out_of_step_) {
    if (reply.intermediate()) return Unexpected(Step::kRcpt, std::move(reply));
    if (out_of_step_ && reply.positive()) ++accepted_;
    return EndIfClosing(Step::kRcpt, reply);
  }
  if (reply.intermediate()) return Unexpected(Step::kRcpt, std::move(reply));
  if (reply.positive()) {
    if (!Plausible(Step::kRcpt, reply)) return Unexpected(Step::kRcpt, std::move(reply));
    ++accepted_;
    too_many_told_ = too_many_.has_value();  // It was not the count.
    return std::nullopt;
  }
  if (Contradicts(reply, options_.pipelining)) {
    if (!options_.streamed) return Unexpected(Step::kRcpt, std::move(reply));
    return FallOutOfStep(Step::kRcpt, std::move(reply), "out of step behind MAIL");
  }
  OutgoingRecipient& recipient = message_->recipients[index];
  recipient.result = Result::kRefused;
  recipient.step = Step::kRcpt;
  recipient.reply = AsTooManyRecipients(std::move(reply));
  const bool too_many = recipient.reply->transient() && SaysTooManyRecipients(*recipient.reply);
  if (too_many && accepted_ > 0 && !too_many_) too_many_ = index;
  return EndIfClosing(Step::kRcpt, *recipient.reply);
}

const Reply* ClientTransaction::TakeTooMany() {
  const bool more_to_hear = answered_.step == Step::kRcpt && !over_;
  if (!too_many_ || too_many_told_ || more_to_hear) return nullptr;
  too_many_told_ = true;
  return &*message_->recipients[*too_many_].reply;
}

void ClientTransaction::ReleaseTooMany() {
  for (size_t i = too_many_.value_or(recipients_); i < recipients_; ++i) {
    OutgoingRecipient& recipient = message_->recipients[i];
    const bool too_many = recipient.result == Result::kRefused && recipient.step == Step::kRcpt &&
                          recipient.reply->transient() && SaysTooManyRecipients(*recipient.reply);
    if (!too_many) continue;
    recipient.result = Result::kUntried;
    recipient.step = Step::kMail;
    recipient.reply.reset();
  }
}

std::optional<Failure> ClientTransaction::AnswerData(Reply reply) {
  if (reply.code == kStartMailInput) {
    lone_dot_ = accepted_ == 0;
    return std::nullopt;
  }
  // Content goes out after a 354 and nothing else (RFC 5321 3.3).
  if (reply.positive() || reply.intermediate()) return Unexpected(Step::kData, std::move(reply));
  if (accepted_ > 0 && Contradicts(reply, options_.pipelining)) {
    return Unexpected(Step::kData, std::move(reply));
  }
  RefuseContent(Step::kData, reply);
  over_ = true;
  return EndIfClosing(Step::kData, reply);
}

std::optional<Failure> ClientTransaction::AnswerEnd(Reply reply) {
  if (reply.intermediate()) return Unexpected(Step::kEndOfData, std::move(reply));
  end_answered_ = true;
  over_ = true;
  // After a lone dot nobody is left to whom the reply could matter.
  if (!reply.positive()) {
    RefuseContent(Step::kEndOfData, reply);
    return EndIfClosing(Step::kEndOfData, reply);
  }
  Plausible(Step::kEndOfData, reply);
  for (size_t i = 0; i < recipients_; ++i) {
    if (PendingAt(i)) message_->recipients[i].reply = reply;
  }
  SetRest(Result::kAccepted, Step::kEndOfData);
  ReleaseTooMany();
  return std::nullopt;
}

// RFC 3030 2: after a refusal the transaction has failed, and what follows of it is refused
// as well, whatever is said to it.
std::optional<Failure> ClientTransaction::AnswerChunk(Reply reply) {
  if (reply.intermediate()) return Unexpected(Step::kBody, std::move(reply));
  if (reply.positive() || pointless()) {
    return EndIfClosing(Step::kBody, reply);
  }
  if (IsAboutChunking(reply)) {
    return FallOutOfStep(Step::kBody, std::move(reply), "BDAT was refused");
  }
  RefuseRest(Step::kBody, reply);
  content_ended_early_ = true;
  return EndIfClosing(Step::kBody, reply);
}

std::optional<Failure> ClientTransaction::AnswerLastChunk(Reply reply) {
  // Also those that were refused before: who has a result keeps it.
  if (reply.positive() && out_of_step_) {
    SetRest(Result::kUncertain, Step::kEndOfData);
    over_ = true;
    return std::nullopt;
  }
  if (pointless()) {
    over_ = true;
    return EndIfClosing(Step::kEndOfData, reply);
  }
  if (reply.positive() && options_.chunking && !Plausible(Step::kEndOfData, reply)) {
    return Unexpected(Step::kEndOfData, std::move(reply));
  }
  if (IsAboutChunking(reply)) {
    return FallOutOfStep(Step::kEndOfData, std::move(reply), "BDAT was refused");
  }
  end_accepted_ = reply.positive();
  return AnswerEnd(std::move(reply));
}

void ClientTransaction::AnswerEarly(Reply reply) {
  RefuseRest(written_.step == Step::kEndOfData ? Step::kBody : Step::kEndOfData, reply);
  over_ = true;
}

void ClientTransaction::Break(const Failure& failure) {
  if (over_) return;
  over_ = true;
  if (lone_dot_) return;
  // A reply out of order: those before it were perhaps another command's as well.
  if (failure.kind == Failure::Kind::kProtocol && failure.reply) {
    garbled_ = true;
    WithdrawRefusals();
  }
  if (written_.step == kEnd) {
    if (nobody_takes_it()) return;
    message_->failure = failure;
    message_->failure->step = Step::kEndOfData;
    SetRest(Result::kUncertain, Step::kEndOfData);
    return;
  }
  const bool before_use = !said() || failure.stale_session || failure.step == Step::kRset ||
                          (failure.step == Step::kMail && options_.session_used_before &&
                           failure.kind == Failure::Kind::kLost);
  if (before_use) {
    EndUntried(failure);
    over_ = true;
    return;
  }
  message_->failure = failure;
  SetRest(Result::kFailed, failure.step);
}

}  // namespace mailrace::transport::smtp
