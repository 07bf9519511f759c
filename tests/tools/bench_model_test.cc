// What limits a run and which setting would help, from made-up figures: each bottleneck has its
// diagnosis, its proposal, and a prediction by the model in docs/PERFORMANCE.md.
#include "tools/mailrace/bench_model.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::tools {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Kind = BenchStation::Kind;

// 1,000 messages a second with nothing near its limit.
BenchFigures Easy() {
  BenchFigures figures;
  figures.seconds = 10;
  figures.delivered = 1000;
  figures.shard_cpu = 0.10;
  figures.commit_cpu = 0.02;
  figures.disk_busy = 0.20;
  figures.machine_busy = 0.15;
  figures.sync_seconds = 0.001;
  figures.changes_a_sync = 10;
  figures.fdatasync_seconds = 0.0008;
  figures.sessions = 2;
  figures.transfer = 0.002;
  figures.setup = 0.010;
  return figures;
}

BenchKnobs Usual() {
  BenchKnobs knobs;
  knobs.cores = 4;
  knobs.engine_shards = 4;
  return knobs;
}

// Two sessions, both busy, at 20 messages a second each.
BenchFigures FullWindow() {
  BenchFigures figures = Easy();
  figures.delivered = 40;
  figures.shard_cpu = 0.004;
  figures.commit_cpu = 0.001;
  figures.disk_busy = 0.008;
  figures.machine_busy = 0.01;
  figures.sessions = 2;
  figures.transfer = 0.05;
  figures.waiting = 1;
  return figures;
}

BenchKnobs TwoSessions() {
  BenchKnobs knobs = Usual();
  knobs.concurrency_limit = 2;
  knobs.engine_shards = 2;
  return knobs;
}

TEST(BenchModelTest, NothingToGainIsAnAnswer) {
  const BenchVerdict verdict = Diagnose(Easy(), Usual());
  EXPECT_FALSE(verdict.limited);
  EXPECT_THAT(verdict.proposals, IsEmpty());
  EXPECT_THAT(verdict.diagnosis, HasSubstr("as fast as it came"));
}

TEST(BenchModelTest, StationsAreSortedByUseAndSayWhatTheyAllow) {
  const BenchVerdict verdict = Diagnose(Easy(), Usual());
  ASSERT_GE(verdict.stations.size(), 5u);
  EXPECT_EQ(verdict.stations[0].kind, Kind::kDisk);
  EXPECT_DOUBLE_EQ(verdict.stations[0].allows, 5000);
  for (size_t i = 1; i < verdict.stations.size(); ++i) {
    EXPECT_GE(verdict.stations[i - 1].used, verdict.stations[i].used);
  }
}

TEST(BenchModelTest, AFullWindowAsksForMoreSessions) {
  const BenchVerdict verdict = Diagnose(FullWindow(), TwoSessions());
  EXPECT_TRUE(verdict.limited);
  EXPECT_EQ(verdict.stations[0].kind, Kind::kSessions);
  EXPECT_THAT(verdict.diagnosis, HasSubstr("default_destination_concurrency_limit"));
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_EQ(verdict.proposals[0].parameter, "default_destination_concurrency_limit");
  EXPECT_EQ(verdict.proposals[0].from, "2");
  EXPECT_EQ(verdict.proposals[0].to, "20");
  // Ten times the sessions; the next station would allow 4,000.
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 400);
}

TEST(BenchModelTest, MoreSessionsCarryNoMoreThanTheNextStationAllows) {
  BenchFigures figures = FullWindow();
  figures.shard_cpu = 0.5;  // Allows 80 a second.
  const BenchVerdict verdict = Diagnose(figures, TwoSessions());
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 80);
  EXPECT_EQ(verdict.proposals[0].next_limit, "") << "its own bound, too";
  EXPECT_EQ(verdict.proposals[0].to, "4") << "as many as can be used, not ten times as many";
}

// A sync of 5 ms for two changes is busy half of the time at 200 messages a second, but so it is at
// many more: groups grow until the changes themselves take the time.
TEST(BenchModelTest, ADiskAllowsMoreToLargerGroups) {
  BenchFigures figures = FullWindow();
  figures.disk_busy = 0.5;
  figures.changes_a_sync = 2;
  figures.changes_a_message = 2;
  figures.fdatasync_seconds = 0.005;
  figures.sync_seconds = 0.009;  // 2 ms a change: 250 messages a second.
  BenchVerdict verdict = Diagnose(figures, TwoSessions());
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 250);
  figures.sync_seconds = 0.005;  // Nothing that could be measured.
  verdict = Diagnose(figures, TwoSessions());
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 400) << "ten times the sessions";
}

// Messages overlap on a session: their own times add up to more than the session's.
TEST(BenchModelTest, SessionsAreBusyForNoLongerThanTheyAreOpen) {
  BenchFigures figures = FullWindow();
  figures.transfer = 0.5;
  const BenchVerdict verdict = Diagnose(figures, TwoSessions());
  EXPECT_DOUBLE_EQ(verdict.stations[0].used, 1);
  EXPECT_DOUBLE_EQ(verdict.stations[0].allows, 40);
}

TEST(BenchModelTest, IdleSessionsLimitNobody) {
  BenchFigures figures = Easy();
  figures.sessions = 20;  // Open, kept for more mail.
  figures.delivered = 100;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_FALSE(verdict.limited);
}

TEST(BenchModelTest, SessionsThatAreMadeForEachMessageShouldBeReused) {
  BenchFigures figures = FullWindow();
  figures.transfer = 0.01;
  figures.setup = 0.04;
  figures.tls = 0.03;
  figures.connects = 40;
  BenchKnobs knobs = TwoSessions();
  knobs.reuse_count_limit = 1;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  EXPECT_THAT(verdict.diagnosis, HasSubstr("80 % of the sessions' time goes into making them"));
  ASSERT_THAT(verdict.proposals, SizeIs(2));
  EXPECT_EQ(verdict.proposals[1].parameter, "smtp_connection_reuse_count_limit");
  EXPECT_EQ(verdict.proposals[1].to, "0");
  EXPECT_NEAR(verdict.proposals[1].predicted, 200, 1e-9) << "five times as many a session";
  knobs.reuse_count_limit = 0;
  knobs.connection_reuse = false;
  EXPECT_EQ(Diagnose(figures, knobs).proposals[1].parameter, "smtp_connection_cache_on_demand");
}

// Both reach what the machine allows: the one does it with less.
TEST(BenchModelTest, OfEqualGainsTheOneThatSavesWorkComesFirst) {
  BenchFigures figures = FullWindow();
  figures.transfer = 0.01;
  figures.setup = 0.04;
  figures.connects = 40;
  figures.machine_busy = 0.5;
  BenchKnobs knobs = TwoSessions();
  knobs.reuse_count_limit = 1;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  ASSERT_THAT(verdict.proposals, SizeIs(2));
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, verdict.proposals[1].predicted);
  EXPECT_EQ(verdict.proposals[0].parameter, "smtp_connection_reuse_count_limit");
}

TEST(BenchModelTest, AnEnvelopeThatWaitsForTheEndBeforeItCostsARoundTrip) {
  BenchKnobs knobs = TwoSessions();
  knobs.cross_message_pipelining = false;
  const BenchVerdict verdict = Diagnose(FullWindow(), knobs);
  ASSERT_THAT(verdict.proposals, SizeIs(2));
  EXPECT_EQ(verdict.proposals[1].parameter, "smtp_cross_message_pipelining");
  // Some of its sessions' time is for making them.
  EXPECT_GT(verdict.proposals[1].predicted, 60);
  EXPECT_LE(verdict.proposals[1].predicted, 80);
}

TEST(BenchModelTest, ABusyShardAsksForMoreShardsWhereThereAreCores) {
  BenchFigures figures = Easy();
  figures.shard_cpu = 0.95;
  figures.machine_busy = 0.40;
  BenchKnobs knobs = Usual();
  knobs.engine_shards = 1;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  EXPECT_EQ(verdict.stations[0].kind, Kind::kShards);
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_EQ(verdict.proposals[0].parameter, "engine_shards");
  EXPECT_EQ(verdict.proposals[0].to, "4");
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 1000 / 0.40) << "then the machine is full";
  EXPECT_EQ(verdict.proposals[0].next_limit, "all cores of the machine");
}

TEST(BenchModelTest, ABusyShardOnEachCoreIsTheEnd) {
  BenchFigures figures = Easy();
  figures.shard_cpu = 0.95;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_TRUE(verdict.limited);
  EXPECT_THAT(verdict.proposals, IsEmpty());
  EXPECT_THAT(verdict.diagnosis, HasSubstr("every core has a shard"));
}

TEST(BenchModelTest, AFullMachineHasNoSettingThatHelps) {
  BenchFigures figures = Easy();
  figures.shard_cpu = 0.80;
  figures.machine_busy = 0.99;
  BenchKnobs knobs = Usual();
  knobs.engine_shards = 2;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  EXPECT_EQ(verdict.stations[0].kind, Kind::kMachine);
  EXPECT_THAT(verdict.proposals, IsEmpty());
}

TEST(BenchModelTest, ABusyCommitThreadIsNamed) {
  BenchFigures figures = Easy();
  figures.commit_cpu = 0.97;
  figures.disk_busy = 0.96;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_EQ(verdict.stations[0].kind, Kind::kCommitThread);
  EXPECT_THAT(verdict.proposals, IsEmpty());
  EXPECT_THAT(verdict.diagnosis, HasSubstr("commit thread"));
}

TEST(BenchModelTest, ASlowSyncWantsLargerGroupsNotASetting) {
  BenchFigures figures = Easy();
  figures.disk_busy = 0.99;
  figures.sync_seconds = 0.0102;
  figures.fdatasync_seconds = 0.0100;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_EQ(verdict.stations[0].kind, Kind::kDisk);
  EXPECT_THAT(verdict.diagnosis, HasSubstr("larger groups"));
  EXPECT_THAT(verdict.proposals, IsEmpty());
}

TEST(BenchModelTest, ADiskThatIsFullOfOctetsWantsAFasterDisk) {
  BenchFigures figures = Easy();
  figures.disk_busy = 0.99;
  figures.sync_seconds = 0.0200;
  figures.fdatasync_seconds = 0.0010;
  EXPECT_THAT(Diagnose(figures, Usual()).diagnosis, HasSubstr("queue_directory on a faster disk"));
}

TEST(BenchModelTest, MailThatIsReadBackWantsMoreMemory) {
  BenchFigures figures = Easy();
  figures.reader_cpu = 0.95;
  figures.parked = 1;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_EQ(verdict.stations[0].kind, Kind::kStoreReader);
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_EQ(verdict.proposals[0].parameter, "queue_memory_limit");
  EXPECT_EQ(verdict.proposals[0].to, "2147483648");
  // The shards' bound: syncs would grow with the rate, 20 us a change.
  EXPECT_DOUBLE_EQ(verdict.proposals[0].predicted, 1000 / 0.15);
}

// The reader waits for the disk: it is the limit although its thread has time.
TEST(BenchModelTest, MailBeyondMemoryIsNoticedByItself) {
  BenchFigures figures = Easy();
  figures.parked = 1;
  figures.waiting = 1;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_FALSE(verdict.limited);
  EXPECT_THAT(verdict.diagnosis, HasSubstr("beyond queue_memory_limit"));
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_EQ(verdict.proposals[0].parameter, "queue_memory_limit");
}

// One session is being made for each message: few are ever seen open.
TEST(BenchModelTest, ASessionThatIsBeingMadeIsBusy) {
  BenchFigures figures = FullWindow();
  figures.sessions = 0.4;
  figures.transfer = 0.01;
  figures.setup = 0.04;
  figures.connects = 40;
  const BenchVerdict verdict = Diagnose(figures, TwoSessions());
  EXPECT_EQ(verdict.stations[0].kind, Kind::kSessions);
  EXPECT_DOUBLE_EQ(verdict.stations[0].used, 1);
}

TEST(BenchModelTest, ARateDelayIsALimitByItself) {
  BenchFigures figures = FullWindow();
  figures.delivered = 1;
  figures.sessions = 1;
  BenchKnobs knobs = Usual();
  knobs.rate_delay_seconds = 1;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  EXPECT_EQ(verdict.stations[0].kind, Kind::kRateDelay);
  ASSERT_THAT(verdict.proposals, SizeIs(1));
  EXPECT_EQ(verdict.proposals[0].parameter, "default_destination_rate_delay");
}

TEST(BenchModelTest, ARelayThatPutsMailOffKeepsTheWindowSmall) {
  BenchFigures figures = FullWindow();
  figures.deferred = 0.3;
  BenchKnobs knobs = Usual();
  knobs.concurrency_limit = 20;
  const BenchVerdict verdict = Diagnose(figures, knobs);
  EXPECT_FALSE(verdict.limited);
  EXPECT_THAT(verdict.diagnosis, HasSubstr("put off 30 % of the recipients"));
}

TEST(BenchModelTest, WhoElseUsesTheMachineIsSaid) {
  BenchFigures figures = FullWindow();
  figures.others_busy = 0.8;
  const BenchVerdict verdict = Diagnose(figures, TwoSessions());
  EXPECT_EQ(verdict.stations[0].kind, Kind::kSessions) << "they are nobody's limit by themselves";
  EXPECT_THAT(verdict.diagnosis, HasSubstr("other programs used 80 % of the machine"));
  EXPECT_THAT(verdict.proposals, SizeIs(1));
}

TEST(BenchModelTest, ARunWithoutDeliveriesProposesNothing) {
  BenchFigures figures;
  figures.sessions = 20;
  const BenchVerdict verdict = Diagnose(figures, Usual());
  EXPECT_THAT(verdict.proposals, IsEmpty());
  EXPECT_THAT(verdict.diagnosis, HasSubstr("nothing was delivered"));
}

}  // namespace
}  // namespace mailrace::tools
