// ClientSession::AdvanceStream: transactions whose content goes by BDAT (RFC 3030), as many
// at a time as the server is trusted with.
#include <optional>
#include <utility>

#include "transport/smtp/chunk_reader.h"
#include "transport/smtp/client_machine.h"
#include "transport/smtp/client_session.h"
#include "transport/smtp/stream_failure.h"

namespace mailrace::transport::smtp {

namespace {

// For what a server says on its way out: it is on its way to us already, or lost.
constexpr absl::Duration kLastWordsWait = absl::Seconds(5);

}  // namespace

Task<std::optional<Failure>> ClientSession::AdvanceStream(ClientMachine* machine,
                                                          TransactionSource* source) {
  const Step awaited = machine->expects_reply() ? machine->expected_step() : machine->next_step();
  if (machine->expects_reply()) {
    // What is here already makes room for more.
    const ReplyParser::State state = ParseInput();
    if (state == ReplyParser::State::kComplete) {
      heard_ = true;
      co_return machine->Answer(parser_.TakeReply(), loop_->clock().Mono());
    }
    if (state == ReplyParser::State::kProtocolError) {
      co_return machine->Break(
          {Failure::Kind::kProtocol, awaited, std::nullopt, parser_.problem()});
    }
  } else if (stream_->output().empty()) {
    std::optional<Failure> failure = OutOfTurn(awaited);
    if (failure) co_return machine->Break(*std::move(failure));
  }
  if (!machine->ending()) {
    TakeNext(machine, source);
    machine->WriteCommands(&stream_->output());
    if (machine->wants_content() != nullptr) {
      std::optional<Failure> failure = co_await WriteChunk(machine);
      co_return failure;
    }
  }
  if (!stream_->output().empty()) {
    std::optional<Failure> failure = co_await FlushStream(machine);
    if (failure) co_return failure;
  }
  if (!machine->expects_reply()) co_return std::nullopt;
  const Step step = machine->expected_step();
  std::optional<Failure> failure =
      co_await ReadReply(step, machine->closing() ? kLastWordsWait : TimeoutOf(step));
  if (failure) co_return machine->Break(*std::move(failure));
  heard_ = true;
  co_return machine->Answer(std::exchange(reply_, Reply()), loop_->clock().Mono());
}

// One chunk. It travels with what comes before and behind it, as far as that fits in a block.
Task<std::optional<Failure>> ClientSession::WriteChunk(ClientMachine* machine) {
  ClientTransaction* const transaction = machine->wants_content();
  if (chunks_ == nullptr || chunks_->message() != transaction->message()) {
    chunks_ = std::make_unique<ChunkReader>(transaction->message(), capabilities_.eight_bit_mime);
    transaction->message()->content_begun = loop_->now();
  }
  chunk_.Clear();
  const std::optional<Failure> unfit = co_await chunks_->Read(kBlockOctets, &chunk_);
  if (unfit) {
    chunks_.reset();
    transaction->GiveUpContent(*unfit);
    co_return std::nullopt;
  }
  const bool last = chunks_->last();
  if (last) {
    chunks_.reset();
    transaction->message()->content_ended = loop_->now();
  }
  machine->WriteChunk(transaction, chunk_.view(), last, loop_->clock().Mono(), &stream_->output());
  if (stream_->output().size() < kBlockOctets) co_return std::nullopt;
  std::optional<Failure> failure = co_await FlushStream(machine);
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::FlushStream(ClientMachine* machine) {
  const Step step = machine->expects_reply() ? machine->expected_step() : Step::kBody;
  const MonoTime deadline = loop_->now() + options_.timeouts.data_xfer;
  const absl::Status status = co_await stream_->Flush(deadline);
  if (status.ok()) co_return std::nullopt;
  std::optional<Failure> failure = co_await EndStream(machine, StreamFailure(status, step));
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::EndStream(ClientMachine* machine, Failure failure) {
  while (failure.kind != Failure::Kind::kLocal && machine->expects_reply()) {
    const std::optional<Failure> over =
        co_await ReadReply(machine->expected_step(), kLastWordsWait);
    if (over) break;
    std::optional<Failure> ended =
        machine->Answer(std::exchange(reply_, Reply()), loop_->clock().Mono());
    if (ended) co_return ended;
  }
  co_return machine->Break(std::move(failure));
}

}  // namespace mailrace::transport::smtp
