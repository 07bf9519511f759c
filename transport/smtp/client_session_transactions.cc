// ClientSession::RunTransactions: drives a ClientMachine over the stream.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "transport/smtp/chunk_reader.h"
#include "transport/smtp/client_machine.h"
#include "transport/smtp/client_session.h"
#include "transport/smtp/dot_stuffer.h"
#include "transport/smtp/stream_failure.h"

namespace mailrace::transport::smtp {

namespace {

// A server that resets the connection in the middle of our content may have said why;
// what it said is either here already or lost.
constexpr absl::Duration kEarlyReplyWait = absl::Seconds(5);

bool IsRefusal(const std::optional<Reply>& reply) {
  return reply && (reply->transient() || reply->permanent());
}

}  // namespace

absl::Duration ClientSession::TimeoutOf(Step step) const {
  switch (step) {
    case Step::kMail:
      // What lay idle may be gone without a word. Nothing is lost by asking on another
      // connection, where a slow server has all its time.
      return used_before_ && !heard_ ? std::min(options_.timeouts.rset, options_.timeouts.mail)
                                     : options_.timeouts.mail;
    case Step::kRcpt:
      return options_.timeouts.rcpt;
    case Step::kData:
      return options_.timeouts.data_init;
    case Step::kBody:
      return options_.timeouts.data_xfer;
    case Step::kEndOfData:
      return options_.timeouts.data_done;
    default:
      return options_.timeouts.rset;
  }
}

bool ClientSession::mails_used_up(const ClientMachine& machine) const {
  return capabilities_.mail_max > 0 && mails_ + machine.started() >= capabilities_.mail_max;
}

size_t ClientSession::recipients_max() const {
  const size_t said = capabilities_.rcpt_max;
  const size_t found = options_.tolerance->recipients_max(loop_->now());
  return said > 0 && found > 0 ? std::min(said, found) : std::max(said, found);
}

void ClientSession::TakeNext(ClientMachine* machine, TransactionSource* source) {
  if (!machine->can_take() || mails_used_up(*machine)) return;
  OutgoingMessage* const message = source->Next();
  if (message != nullptr) machine->Take(message, source->MoreFollow());
}

void ClientSession::UpdateRunAhead(ClientMachine* machine) {
  Tolerance& tolerance = *options_.tolerance;
  const MonoTime now = loop_->now();
  RunAhead ahead;
  const bool pipelining = capabilities_.pipelining && manner_ != Tolerance::Manner::kLockStep;
  ahead.cross_message = pipelining && tolerance.cross_message(now);
  // A session that lay idle may be over without our knowing: a message whose end is sent into
  // it would be uncertain. So its first transaction waits for a reply.
  ahead.chunking = heard_ && pipelining && capabilities_.chunking && tolerance.chunking(now);
  if (ahead.chunking) ahead.window = tolerance.window(now);
  ahead.recipients_max = recipients_max();
  machine->set_run_ahead(ahead);
}

void ClientSession::Judge(const ClientMachine& machine, const Failure& failure) {
  if (!capabilities_.pipelining) return;  // It was asked one thing at a time.
  const MonoTime now = loop_->now();
  const std::string what =
      fmt::format("{} while {}", failure.text.empty() ? "connection lost" : failure.text,
                  StepStage(failure.step));
  if (failure.kind == Failure::Kind::kProtocol) {
    options_.tolerance->LostItsPlace(what, manner_, now);
  } else if (machine.ran_ahead() &&
             (failure.kind == Failure::Kind::kLost || failure.kind == Failure::Kind::kTimeout)) {
    options_.tolerance->Dropped(what, now);
  }
}

Task<std::optional<Failure>> ClientSession::RunTransactions(TransactionSource* source) {
  ClientMachineOptions options;
  manner_ = options_.tolerance->manner(loop_->now());
  options.pipelining = capabilities_.pipelining && manner_ != Tolerance::Manner::kLockStep;
  options.tolerance = options_.tolerance.get();
  options.session_used_before = used_before_;
  options.reset_before = reset_needed_;
  ClientMachine machine(&capabilities_, options);
  chunks_.reset();
  std::optional<Failure> failure;
  while (true) {
    while (OutgoingMessage* const message = machine.TakeFinished()) source->Finished(message);
    if (failure) break;
    UpdateRunAhead(&machine);
    if (machine.idle()) {
      failure = OutOfTurn(Step::kMail);
      if (failure) break;
      TakeNext(&machine, source);
      if (machine.idle()) break;
    }
    if (!machine.under_way()) continue;
    if (machine.chunking()) {
      failure = co_await AdvanceStream(&machine, source);
    } else {
      failure = co_await Advance(&machine, source);
    }
  }
  if (failure) Judge(machine, *failure);
  heard_ = false;  // Until the next time.
  used_before_ = used_before_ || machine.started() > 0;
  reset_needed_ = machine.reset_needed();
  transactions_ += machine.completed();
  if (!failure && mails_used_up(machine)) {
    failure = Failure{Failure::Kind::kLocal, Step::kMail, std::nullopt,
                      "the server's limit of transactions in a session is reached"};
    mails_ += machine.started();
    co_return failure;
  }
  mails_ += machine.started();
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::Advance(ClientMachine* machine,
                                                    TransactionSource* source) {
  if (!machine->expects_reply()) {
    // Lock-step or between groups: nobody has asked the server anything.
    const bool content = machine->wants_content() != nullptr;
    std::optional<Failure> failure = OutOfTurn(content ? Step::kBody : machine->next_step());
    if (failure && content && IsRefusal(failure->reply)) {
      machine->AnswerEarly(*failure->reply);
      co_return failure;
    }
    if (failure) co_return machine->Break(*std::move(failure));
  }
  if (machine->wants_content() != nullptr) {
    std::optional<Failure> failure = co_await SendContent(machine, source);
    co_return failure;
  }
  machine->WriteCommands(&stream_->output());
  const Step step = machine->expected_step();
  std::optional<Failure> failure;
  if (!stream_->output().empty()) {
    const absl::Status status = co_await stream_->Flush(loop_->now() + TimeoutOf(step));
    if (!status.ok()) failure = StreamFailure(status, step);
  }
  if (!failure) failure = co_await ReadReply(step, TimeoutOf(step));
  if (failure) {
    const bool silent = failure->kind == Failure::Kind::kTimeout && step == Step::kMail;
    failure->stale_session = silent && used_before_ && !heard_;
    co_return machine->Break(*std::move(failure));
  }
  heard_ = true;
  co_return machine->Answer(std::exchange(reply_, Reply()), loop_->clock().Mono());
}

Task<std::optional<Failure>> ClientSession::SendContent(ClientMachine* machine,
                                                        TransactionSource* source) {
  ClientTransaction* const transaction = machine->wants_content();
  OutgoingMessage* const message = transaction->message();
  DotStuffer stuffer(capabilities_.eight_bit_mime);
  message->content_begun = loop_->now();
  std::optional<Failure> failure = co_await SendBlocks(message, &stuffer);
  if (!failure) {
    transaction->ContentEnded();
    message->content_ended = loop_->now();
    // [end of message n][MAIL n+1 ...]: RFC 2920 3.1 allows it, and it saves a round trip.
    TakeNext(machine, source);
    machine->WriteCommands(&stream_->output());
    failure = co_await SendBlock(Step::kEndOfData);
  }
  if (!failure) co_return std::nullopt;
  stream_->output().Clear();
  if (failure->kind == Failure::Kind::kLost || failure->kind == Failure::Kind::kTimeout) {
    std::optional<Reply> early = co_await ReadEarlyReply();
    if (early) {
      machine->AnswerEarly(*early);
      failure->reply = std::move(early);
      co_return failure;
    }
  }
  co_return machine->Break(*std::move(failure));
}

Task<std::optional<Failure>> ClientSession::SendBlock(Step step) {
  const MonoTime deadline = loop_->now() + options_.timeouts.data_xfer;
  const absl::Status status = co_await stream_->Flush(deadline);
  if (!status.ok()) co_return StreamFailure(status, step);
  co_return std::nullopt;
}

Task<std::optional<Failure>> ClientSession::SendBlocks(OutgoingMessage* message,
                                                       DotStuffer* stuffer) {
  Buffer& output = stream_->output();
  Failure unfit{Failure::Kind::kLocal, Step::kBody};
  message->Rewind();
  while (true) {
    const absl::StatusOr<std::string_view> chunk = co_await message->NextChunk();
    if (!chunk.ok()) {
      unfit.text = StatusText(chunk.status());
      co_return unfit;
    }
    std::string_view rest = *chunk;
    const bool ended = rest.empty();
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, kBlockOctets);
      rest.remove_prefix(part.size());
      if (!stuffer->Append(part, &output)) break;
      if (output.size() < kBlockOctets) continue;
      std::optional<Failure> failure = co_await SendBlock(Step::kBody);
      if (failure) co_return failure;
    }
    if (ended && stuffer->Finish(&output)) co_return std::nullopt;
    if (!stuffer->problem().empty()) {
      unfit.text = std::string(kContentUnfitText) + std::string(stuffer->problem());
      co_return unfit;
    }
  }
}

Task<std::optional<Reply>> ClientSession::ReadEarlyReply() {
  const std::optional<Failure> failure = co_await ReadReply(Step::kBody, kEarlyReplyWait);
  std::optional<Reply> reply;
  if (!failure) reply = std::exchange(reply_, Reply());
  if (!IsRefusal(reply)) reply.reset();
  co_return reply;
}

}  // namespace mailrace::transport::smtp
