// What the intake's protocol costs: scanning content, and a whole transaction.

#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

#include "bench/micro/null_client.h"
#include "transport/smtp/server_machine.h"

namespace mailrace::transport::smtp {
namespace {

void BM_ScanContent(benchmark::State& state) {
  const std::string wire = Lines(static_cast<size_t>(state.range(0))) + ".\r\n";
  std::string content;
  for (auto _ : state) {
    content.clear();
    ContentScanner scanner(ContentScanner::Options{});
    std::string_view input = wire;
    benchmark::DoNotOptimize(scanner.FeedData(&input, &content));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * wire.size()));
}
BENCHMARK(BM_ScanContent)->Arg(1 << 10)->Arg(4 << 10)->Arg(64 << 10);

void BM_Transaction(benchmark::State& state) {
  ServerOptions options;
  options.hostname = "mx.example.com";
  ServerMachine machine(&options);
  NullClient client(&machine);
  const auto say = [&client](std::string_view input) {
    benchmark::DoNotOptimize(client.Say(input));
  };
  say("EHLO client.example.com\r\n");
  const std::string body = Lines(4 << 10) + ".\r\n";
  for (auto _ : state) {
    say("MAIL FROM:<a@example.com> SIZE=4096\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    say(body);
  }
}
BENCHMARK(BM_Transaction);

}  // namespace
}  // namespace mailrace::transport::smtp
