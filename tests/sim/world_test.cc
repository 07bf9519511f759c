// The engine's promises under seeds. MAILRACE_SIM_SEEDS says how many, MAILRACE_SIM_SEED
// replays one and prints its log.
#include <cstdlib>
#include <iostream>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/world/sim_world.h"

namespace mailrace::sim {
namespace {

// Sanitizers make a life five times longer.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr uint64_t kSeeds = 100;
#else
constexpr uint64_t kSeeds = 300;
#endif

uint64_t Number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(SimWorldTest, NothingIsLostRepeatedUnexplainedOrStuck) {
  const uint64_t one = Number("MAILRACE_SIM_SEED", 0);
  const uint64_t first = one != 0 ? one : Number("MAILRACE_SIM_FIRST_SEED", 1);
  const uint64_t seeds = one != 0 ? 1 : Number("MAILRACE_SIM_SEEDS", kSeeds);
  SimWorld::Facts sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    WorldOptions options;
    options.seed = seed;
    SimWorld world(options);
    const std::vector<std::string> wrong = world.Run();
    if (one != 0) {
      for (const std::string& line : world.log()) std::cerr << line << '\n';
    }
    EXPECT_THAT(wrong, testing::IsEmpty()) << "replay with MAILRACE_SIM_SEED=" << seed;
    sum.acknowledged += world.facts().acknowledged;
    sum.notices += world.facts().notices;
    sum.uncertain += world.facts().uncertain;
    sum.crashes += world.facts().crashes;
    sum.sync_failures += world.facts().sync_failures;
    sum.full_disks += world.facts().full_disks;
    sum.refused_at_intake += world.facts().refused_at_intake;
  }
  std::cout << fmt::format(
      "{} seeds: {} messages acknowledged, {} refused, {} notices, {} uncertain, {} crashes, {} "
      "failed syncs, {} full disks\n",
      seeds, sum.acknowledged, sum.refused_at_intake, sum.notices, sum.uncertain, sum.crashes,
      sum.sync_failures, sum.full_disks);
  if (seeds < 100) return;
  // The rare paths were reached: otherwise a green run says nothing.
  EXPECT_GT(sum.notices, 0u);
  EXPECT_GT(sum.uncertain, 0u);
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.sync_failures, 0u);
  EXPECT_GT(sum.full_disks, 0u);
  EXPECT_GT(sum.refused_at_intake, 0u);
}

TEST(SimWorldTest, TheSameSeedGivesTheSameLife) {
  WorldOptions options;
  options.seed = 7;
  SimWorld one(options);
  SimWorld other(options);
  EXPECT_EQ(one.Run(), other.Run());
  EXPECT_EQ(one.log(), other.log());
}

// The oracle itself is tested: a disk that lies must be caught.
TEST(SimWorldTest, AcknowledgingWithoutASyncIsCaughtAsLoss) {
  bool caught = false;
  for (uint64_t seed = 1; seed < 20 && !caught; ++seed) {
    WorldOptions options;
    options.seed = seed;
    options.sync_is_ignored = true;
    SimWorld world(options);
    for (const std::string& breach : world.Run()) {
      caught = caught || breach.starts_with("LOST: ");
    }
  }
  EXPECT_TRUE(caught);
}

}  // namespace
}  // namespace mailrace::sim
