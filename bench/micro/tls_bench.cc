// What TLS costs a session: handshakes, full and resumed, both sides together, and a
// message through an established connection.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "transport/tls/context.h"
#include "transport/tls/engine.h"

namespace mailrace::transport::tls {
namespace {

struct Pair {
  std::unique_ptr<Engine> client;
  std::unique_ptr<Engine> server;
};

struct Contexts {
  std::shared_ptr<const Context> server = *MakeSelfSignedServerContext("mail.example.org");
  std::shared_ptr<const Context> client = *MakeClientContext({});
};

const Contexts& Shared() {
  static const Contexts contexts;
  return contexts;
}

void Move(Engine* from, Engine* to, Buffer* records) {
  records->Clear();
  from->TakeRecords(records);
  to->Receive(records->view());
}

Pair Connect(SessionPtr resume) {
  ClientEngineOptions options;
  options.match_names = {"mail.example.org"};
  options.resume = std::move(resume);
  Pair pair{*Engine::Client(Shared().client, options), *Engine::Server(Shared().server)};
  Buffer records;
  for (int flight = 0; flight < 3; ++flight) {
    if (!pair.client->Handshake().ok()) std::abort();
    Move(pair.client.get(), pair.server.get(), &records);
    if (!pair.server->Handshake().ok()) std::abort();
    Move(pair.server.get(), pair.client.get(), &records);
  }
  Buffer tickets;
  if (!pair.client->Read(&tickets).ok()) std::abort();
  return pair;
}

void FullHandshake(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Connect(nullptr));
}
BENCHMARK(FullHandshake);

void ResumedHandshake(benchmark::State& state) {
  SessionPtr session = Connect(nullptr).client->TakeSession();
  for (auto _ : state) {
    const Pair pair = Connect(std::move(session));
    session = pair.client->TakeSession();
    if (!pair.client->info().resumed) state.SkipWithError("not resumed");
  }
}
BENCHMARK(ResumedHandshake);

// Encrypts on one side and decrypts on the other.
void Transfer(benchmark::State& state) {
  const Pair pair = Connect(nullptr);
  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  Buffer records;
  Buffer plaintext;
  for (auto _ : state) {
    if (!pair.client->Write(message).ok()) std::abort();
    Move(pair.client.get(), pair.server.get(), &records);
    if (!pair.server->Read(&plaintext).ok() || plaintext.size() != message.size()) std::abort();
    plaintext.Clear();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Transfer)->Arg(64)->Arg(4096)->Arg(65536);

}  // namespace
}  // namespace mailrace::transport::tls
