// The engine's promises under seeds; tools/simulate runs more of them and replays one.
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/world/sim_world.h"

namespace mailrace::sim {
namespace {

// Sanitizers make a life many times longer.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr uint64_t kSeedsOfOne = 30;
#else
constexpr uint64_t kSeedsOfOne = 250;
#endif

class SimWorldSeeds : public testing::TestWithParam<uint64_t> {};

TEST_P(SimWorldSeeds, NothingIsLostRepeatedUnexplainedOrStuck) {
  const uint64_t first = 1 + GetParam() * kSeedsOfOne;
  WorldFacts sum;
  for (uint64_t seed = first; seed < first + kSeedsOfOne; ++seed) {
    WorldOptions options;
    options.seed = seed;
    options.keeps_log = false;
    SimWorld world(options);
    EXPECT_THAT(world.Run(), testing::IsEmpty()) << "replay: tools/simulate --seed " << seed;
    sum.Add(world.facts());
  }
  if (kSeedsOfOne < 100) return;
  // The rare paths were reached: otherwise a green run says nothing.
  EXPECT_GT(sum.notices, 0u);
  EXPECT_GT(sum.uncertain, 0u);
  EXPECT_GT(sum.duplicates, 0u);
  EXPECT_GT(sum.crashes, 0u);
  EXPECT_GT(sum.stops, 0u);
  EXPECT_GT(sum.sync_failures, 0u);
  EXPECT_GT(sum.full_disks, 0u);
  EXPECT_GT(sum.clock_jumps, 0u);
  EXPECT_GT(sum.reloads, 0u);
  EXPECT_GT(sum.removed, 0u);
  EXPECT_GT(sum.smuggled, 0u);
  EXPECT_GT(sum.handshakes, 0u);
  EXPECT_GT(sum.chunks, 0u);
  EXPECT_GT(sum.refused, 0u);
}

// Lives beyond the usual seeds in which something went wrong once; told by what that was.
class FormerBreaches : public testing::TestWithParam<uint64_t> {};

TEST_P(FormerBreaches, StayMended) {
  WorldOptions options;
  options.seed = GetParam();
  options.keeps_log = false;
  EXPECT_THAT(SimWorld(options).Run(), testing::IsEmpty());
}

// A hold took back a removal that waited for an attempt, after the message's other jobs were gone.
INSTANTIATE_TEST_SUITE_P(HoldAfterRemoval, FormerBreaches, testing::Values(8605));
// A removal while the message was only being read waited for an attempt; a reload dropped the job.
INSTANTIATE_TEST_SUITE_P(RemovalWhileRead, FormerBreaches, testing::Values(18382, 24363, 43721));
// A streamed message behind a RSET that was refused was taken for untried, though its content had
// gone out and its end was never answered.
INSTANTIATE_TEST_SUITE_P(EndUnansweredOutOfStep, FormerBreaches, testing::Values(13186, 24757));

// Jobs were counted as parked that were none any more: a verb could not read that they were parked,
// or an older job, from before a reload, ended them.
INSTANTIATE_TEST_SUITE_P(ParkedAndOver, FormerBreaches,
                         testing::Values(14475, 18996, 32470, 34082, 39613));
// An uncertain attempt of a message that was being removed stayed in the list of flights.
INSTANTIATE_TEST_SUITE_P(UncertainWhileRemoved, FormerBreaches, testing::Values(8233));

// All that was ready was read back at once, within a budget for one of them.
INSTANTIATE_TEST_SUITE_P(LoadsBeyondTheBudget, FormerBreaches, testing::Values(45240));

// Not the engine's fault: a turn within a millisecond comes at its end.
INSTANTIATE_TEST_SUITE_P(TurnsWithinAMillisecond, FormerBreaches, testing::Values(73077, 73148));
// A relay that said a reply too many heard a MAIL too early: its own doing, said the oracle
// wrongly.
INSTANTIATE_TEST_SUITE_P(MailOutOfStep, FormerBreaches, testing::Values(75250));

// Eight parts, so that they share the cores.
INSTANTIATE_TEST_SUITE_P(Parts, SimWorldSeeds, testing::Range<uint64_t>(0, 8));

TEST(SimWorldTest, TheSameSeedGivesTheSameLife) {
  for (const uint64_t seed : {7u, 8u, 9u, 10u}) {
    WorldOptions options;
    options.seed = seed;
    SimWorld one(options);
    SimWorld other(options);
    EXPECT_EQ(one.Run(), other.Run());
    EXPECT_EQ(one.log(), other.log());
  }
}

// The oracle itself is tested: each lie must be caught, and as what it is.
class OracleTest : public testing::Test {
 protected:
  // Whether one of the first seeds shows a breach that begins with `words`.
  static bool Caught(Mutation mutation, const std::string& words) {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
      WorldOptions options;
      options.seed = seed;
      options.mutation = mutation;
      options.keeps_log = false;
      SimWorld world(options);
      for (const std::string& breach : world.Run()) {
        if (breach.find(words) != std::string::npos) return true;
      }
    }
    return false;
  }
};

TEST_F(OracleTest, CatchesAcknowledgingWithoutASync) {
  EXPECT_TRUE(Caught(Mutation::kSyncIgnored, "LOST: "));
}

TEST_F(OracleTest, CatchesRemovingBeforeTheRelayAccepted) {
  EXPECT_TRUE(Caught(Mutation::kRemovedBeforeAccepted, "left the disk, neither"));
}

TEST_F(OracleTest, CatchesTakingGarbageForSuccess) {
  EXPECT_TRUE(Caught(Mutation::kSuccessOnGarbage, "left the disk, neither"));
}

TEST_F(OracleTest, CatchesDeliveriesThatAreNotRecorded) {
  EXPECT_TRUE(Caught(Mutation::kOutcomesForgotten, "the engine did not know"));
  EXPECT_TRUE(Caught(Mutation::kOutcomesForgotten, "was not durable after"));
}

TEST_F(OracleTest, CatchesAFailureWithoutItsNotice) {
  EXPECT_TRUE(Caught(Mutation::kNoticeLost, "left the disk, neither"));
}

TEST_F(OracleTest, CatchesAMessageThatIsStuck) {
  EXPECT_TRUE(Caught(Mutation::kJobStuck, "stuck: "));
}

}  // namespace
}  // namespace mailrace::sim
