#include "engine/outcome.h"

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::engine {

using transport::smtp::Failure;
using transport::smtp::OutgoingRecipient;
using transport::smtp::Reply;
using transport::smtp::Step;
using transport::smtp::StepCommand;
using transport::smtp::StepStage;

namespace {

EnhancedStatus Softened(EnhancedStatus status) {
  if (status.klass == 5) status.klass = 4;
  return status;
}

// `own`: it is our own verdict on what this server cannot take, not the server's word.
Disposition Refused(const OutgoingRecipient& recipient, const logs::Peer& relay, bool own,
                    bool soft_bounce) {
  const Reply& reply = *recipient.reply;
  Disposition d;
  d.status = reply.enhanced();
  d.text = own ? logs::OneLine(reply.ToString())
               : logs::SaidText(relay, reply.ToString(), StepCommand(recipient.step));
  bool permanent = reply.permanent();
  // "552 too many recipients" of old servers means 452 (RFC 5321 4.5.3.1.10).
  if (recipient.step == Step::kRcpt && reply.code == 552) permanent = false;
  // 530 and 538 speak of our configuration, not of this mail: nobody is refused.
  if (reply.code == 530 || reply.code == 538) permanent = false;
  if (soft_bounce) permanent = false;
  if (permanent) {
    d.kind = Disposition::Kind::kFailed;
  } else {
    d.kind = Disposition::Kind::kDeferred;
    d.status = Softened(d.status);
    if (d.status.klass != 4) d.status = {4, 5, 0};  // A 2xx or 3xx where none belongs.
  }
  return d;
}

}  // namespace

Disposition JudgeRecipient(const OutgoingRecipient& recipient,
                           const std::optional<Failure>& message_failure, const logs::Peer& relay,
                           bool soft_bounce) {
  using Result = OutgoingRecipient::Result;
  Disposition d;
  switch (recipient.result) {
    case Result::kAccepted:
      d.kind = Disposition::Kind::kDelivered;
      d.status = recipient.reply->enhanced();
      d.text = Printable(recipient.reply->ToString());
      return d;
    case Result::kRefused:
      return Refused(recipient, relay,
                     message_failure && message_failure->text == transport::smtp::kOwnReplyText,
                     soft_bounce);
    case Result::kUntried:
      d.kind = Disposition::Kind::kUntried;
      break;
    case Result::kFailed:
      // Cut off by ourselves before the end of data: nothing was said about it.
      if (message_failure && message_failure->kind == Failure::Kind::kLocal &&
          message_failure->text == transport::smtp::kCancelledText) {
        d.kind = Disposition::Kind::kUntried;
      }
      break;
    case Result::kUncertain:
      d.uncertain = recipient.result == Result::kUncertain;
      break;
  }
  if (message_failure) {
    const Trouble trouble = ExplainFailure(*message_failure, relay);
    d.status = trouble.status;
    d.text = trouble.text;
  } else {
    d.status = {4, 4, 2};
    d.text = logs::LostConnectionText(relay, StepStage(recipient.step));
  }
  // Whatever ended it: who finds the mail twice has to find the reason in the log.
  static constexpr std::string_view kMaybeTwice = "message may be sent more than once";
  if (d.uncertain && d.text.find(kMaybeTwice) == std::string::npos) {
    d.text += fmt::format(" -- {}", kMaybeTwice);
  }
  return d;
}

Trouble ExplainFailure(const Failure& failure, const logs::Peer& relay) {
  switch (failure.kind) {
    case Failure::Kind::kReply: {
      if (!failure.reply) break;
      const EnhancedStatus status = Softened(failure.reply->enhanced());
      const std::string reply = failure.reply->ToString();
      if (failure.step == Step::kGreeting || failure.step == Step::kHelo) {
        return {status, logs::RefusedToTalkText(relay, reply)};
      }
      if (failure.step == Step::kAuth) {
        return {status, fmt::format("SASL authentication failed; server {} said: {}",
                                    logs::PeerName(relay), logs::OneLine(reply))};
      }
      return {status, logs::SaidText(relay, reply, StepCommand(failure.step))};
    }
    case Failure::Kind::kLost:
      if (failure.step == Step::kConnect) break;
      return {{4, 4, 2}, logs::LostConnectionText(relay, StepStage(failure.step))};
    case Failure::Kind::kTimeout:
      if (failure.step == Step::kConnect) break;
      return {{4, 4, 2}, logs::TimedOutText(relay, StepStage(failure.step))};
    case Failure::Kind::kProtocol:
      return {{4, 5, 0},
              fmt::format("protocol error in conversation with {} while {}: {}",
                          logs::PeerName(relay), StepStage(failure.step), Printable(failure.text))};
    case Failure::Kind::kTls:
      return {{4, 7, 5}, "Cannot start TLS: handshake failure"};
    case Failure::Kind::kSasl:
      return {{4, 7, 0}, Printable(failure.text)};
    case Failure::Kind::kLocal:
      return {{4, 3, 0}, Printable(failure.text)};
  }
  return {{4, 4, 1}, logs::ConnectText(relay, failure.text)};
}

}  // namespace mailrace::engine
