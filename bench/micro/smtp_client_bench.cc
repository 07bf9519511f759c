// CPU of the client session alone: transactions of 4 KiB over a connection whose server
// answers at once and whose octets cost nothing.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <utility>

#include "base/sync.h"
#include "bench/micro/null_client.h"
#include "bench/micro/null_server.h"
#include "transport/smtp/client_session.h"
#include "transport/smtp/dot_stuffer.h"

namespace mailrace::transport::smtp {
namespace {

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
  const std::string content = Lines(static_cast<size_t>(state.range(0)));
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
  const std::string content = Lines(4096);
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
