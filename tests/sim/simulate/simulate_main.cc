// Runs seeds of the simulated world: what tools/simulate starts, one process a core.
//
//   mailrace-simulate FIRST COUNT          lines of JSON: one for each breach, then the facts
//   mailrace-simulate --log SEED           one life, its whole log on standard error
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fmt/format.h"
#include "tests/sim/world/sim_world.h"

namespace mailrace::sim {
namespace {

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return quoted + "\"";
}

void PrintFacts(const WorldFacts& facts, uint64_t seeds) {
  fmt::print(
      "{{\"seeds\":{},\"messages\":{},\"recipients\":{},\"refused\":{},\"deliveries\":{},"
      "\"notices\":{},\"crashes\":{},\"stops\":{},\"sync_failures\":{},\"full_disks\":{},"
      "\"clock_jumps\":{},\"reloads\":{},\"removed\":{},\"smuggled\":{},\"handshakes\":{},"
      "\"chunks\":{},"
      "\"uncertain\":{},"
      "\"duplicates\":{},\"crash_bound\":{},\"crash_owed\":{},"
      "\"parkings\":{},\"lost\":{}}}\n",
      seeds, facts.messages, facts.recipients, facts.refused, facts.deliveries, facts.notices,
      facts.crashes, facts.stops, facts.sync_failures, facts.full_disks, facts.clock_jumps,
      facts.reloads, facts.removed, facts.smuggled, facts.handshakes, facts.chunks, facts.uncertain,
      facts.duplicates, facts.crash_bound, facts.crash_owed, facts.parkings, facts.lost);
  std::fflush(stdout);
}

// The number of seeds that broke a promise.
uint64_t RunSeeds(uint64_t first, uint64_t count, bool log) {
  // Often enough for who watches.
  static constexpr uint64_t kSeedsALine = 50;
  uint64_t failed = 0;
  WorldFacts facts;
  uint64_t seeds = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    WorldOptions options;
    options.seed = seed;
    options.keeps_log = log;
    SimWorld world(options);
    const std::vector<std::string> wrong = world.Run();
    for (const std::string& line : world.log()) fmt::print(stderr, "{}\n", line);
    for (const std::string& breach : wrong) {
      fmt::print("{{\"seed\":{},\"breach\":{}}}\n", seed, Quoted(breach));
    }
    if (!wrong.empty()) ++failed;
    facts.Add(world.facts());
    if (++seeds < kSeedsALine) continue;
    PrintFacts(facts, seeds);
    facts = WorldFacts();
    seeds = 0;
  }
  if (seeds > 0) PrintFacts(facts, seeds);
  return failed;
}

}  // namespace
}  // namespace mailrace::sim

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: mailrace-simulate FIRST COUNT | --log SEED\n");
    return 2;
  }
  const bool log = std::string_view(argv[1]) == "--log";
  const uint64_t first = std::strtoull(log ? argv[2] : argv[1], nullptr, 10);
  const uint64_t count = log ? 1 : std::strtoull(argv[2], nullptr, 10);
  return mailrace::sim::RunSeeds(first, count, log) == 0 ? 0 : 1;
}
