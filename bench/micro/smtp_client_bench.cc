// CPU of the client session alone: transactions of 4 KiB over a connection whose server
// answers at once and whose octets cost nothing.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>

#include "base/sync.h"
#include "transport/smtp/client_session.h"
#include "transport/smtp/dot_stuffer.h"

namespace mailrace::transport::smtp {
namespace {

// Looks for ends of data and DATA commands to know what to answer, and at nothing else.
class NullServer final : public Connection {
 public:
  explicit NullServer(Loop* loop) : loop_(loop) { said_ = "220 null\r\n"; }
  void Cancel() override {}
  void CancelRead() override {}
  SocketAddress local() const override { return {}; }
  SocketAddress remote() const override { return {}; }

 protected:
  void StartRead(IoOperation* operation) override {
    operation->into->Append(said_);
    operation->octets = said_.size();
    said_.clear();
    loop_->Resume(operation->handle);
  }
  void StartWrite(IoOperation* operation) override {
    const std::string_view from = operation->from;
    if (from.substr(0, 4) == "EHLO") {
      said_ += "250-null\r\n250-PIPELINING\r\n250 SIZE 0\r\n";
    } else {
      // A write is [content][its end][MAIL RCPT DATA]; any part may be missing.
      if (from.rfind("\r\n.\r\n") != std::string_view::npos || from.substr(0, 3) == ".\r\n") {
        said_ += "250 2.0.0 Ok: queued as 4bQ1zX2Y3z\r\n";
      }
      if (from.substr(from.size() - 6) == "DATA\r\n") {
        said_ += "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n";
      }
    }
    operation->octets = from.size();
    loop_->Resume(operation->handle);
  }

 private:
  Loop* const loop_;
  std::string said_;
};

std::string Content(size_t octets) {
  std::string content;
  while (content.size() < octets) content += std::string(76, 'x') + "\r\n";
  return content;
}

class OneMessage final : public OutgoingMessage {
 public:
  explicit OneMessage(std::string content) : content_(std::move(content)) {
    reverse_path = "sender@example.org";
    octets = content_.size();
    recipients.emplace_back().forward_path = "recipient@example.net";
  }
  Task<absl::StatusOr<std::string_view>> NextChunk() override {
    const std::string_view chunk = std::exchange(given_, true) ? "" : std::string_view(content_);
    co_return chunk;
  }
  void Rewind() override { given_ = false; }

 private:
  const std::string content_;
  bool given_ = false;
};

// Two messages in turn: one waits for its reply while the other is said.
class Messages final : public TransactionSource {
 public:
  Messages(const std::string& content, benchmark::State* state)
      : state_(state), even_(content), odd_(content) {}
  OutgoingMessage* Next() override {
    // Asked once more than told "no": KeepRunning() must not be.
    if (ended_ || !state_->KeepRunning()) {
      ended_ = true;
      return nullptr;
    }
    return (++count_ % 2) == 0 ? &even_ : &odd_;
  }
  void Finished(OutgoingMessage* message) override {
    if (message->recipients[0].result == OutgoingRecipient::Result::kAccepted) ++accepted;
  }
  int64_t accepted = 0;

 private:
  benchmark::State* const state_;
  OneMessage even_;
  OneMessage odd_;
  int64_t count_ = 0;
  bool ended_ = false;
};

Task<void> Drive(ClientSession* session, Messages* messages) {
  const std::optional<Failure> greeting = co_await session->ReadGreeting();
  const std::optional<Failure> ehlo = co_await session->Ehlo();
  if (greeting || ehlo) co_return;
  const std::optional<Failure> failure = co_await session->RunTransactions(messages);
  benchmark::DoNotOptimize(failure);
}

void BM_Transactions(benchmark::State& state) {
  const std::string content = Content(static_cast<size_t>(state.range(0)));
  SystemClock clock;
  Loop loop(&clock);
  Messages messages(content, &state);
  ClientSessionOptions options;
  options.helo_name = "client.example";
  ClientSession session(&loop, std::make_unique<Stream>(std::make_unique<NullServer>(&loop)),
                        options);
  {
    TaskScope scope(&loop);
    scope.Spawn(Drive(&session, &messages));
    while (loop.has_ready()) loop.RunReady();
  }
  if (messages.accepted + 1 < static_cast<int64_t>(state.iterations())) {
    state.SkipWithError("not all messages were accepted");
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * content.size()));
}
BENCHMARK(BM_Transactions)->Arg(4096)->Arg(65536);

void BM_DotStuffer(benchmark::State& state) {
  const std::string content = Content(4096);
  Buffer out;
  for (auto _ : state) {
    DotStuffer stuffer(true);
    benchmark::DoNotOptimize(stuffer.Append(content, &out));
    out.Clear();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * content.size()));
}
BENCHMARK(BM_DotStuffer);

}  // namespace
}  // namespace mailrace::transport::smtp
