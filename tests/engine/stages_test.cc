// Where a message's time went: each stage from its own two instants, and all of them together
// the time from MAIL to the answer to its end.
#include "engine/stages.h"

#include <numeric>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

MonoTime At(int64_t milliseconds) { return MonoTime{1} + absl::Milliseconds(milliseconds); }

// Every stage takes a power of two of milliseconds, so that no two can be mixed up.
StageFacts Usual() {
  StageFacts facts;
  AcceptTimes accepted;
  accepted.begun = At(0);
  accepted.submitted = At(1);
  accepted.commit_wait = absl::Milliseconds(2);
  accepted.durable = At(1 + 2 + 4);
  facts.accepted = accepted;
  facts.times.ready = At(7 + 8);
  facts.times.taken = At(15 + 16);
  facts.session = {absl::Milliseconds(64), absl::Milliseconds(128)};
  facts.times.connected = At(31 + 32 + 64 + 128);
  facts.times.handed_out = facts.times.connected;
  facts.times.content = At(255 + 256);
  facts.times.end = At(511 + 512);
  facts.times.answered = At(1023 + 1024);
  facts.age = absl::Milliseconds(2047);
  return facts;
}

absl::Duration Of(const StageFacts& facts, Stage stage) {
  return absl::Nanoseconds(MeasureStages(facts)[static_cast<size_t>(stage)]);
}

absl::Duration Sum(const StageFacts& facts) {
  const StageNanos all = MeasureStages(facts);
  return absl::Nanoseconds(std::accumulate(all.begin(), all.end(), int64_t{0}));
}

TEST(StagesTest, EachIsTheTimeBetweenItsOwnTwoInstants) {
  StageFacts facts = Usual();
  facts.attempted_before = true;
  EXPECT_EQ(Of(facts, Stage::kIntake), absl::Milliseconds(1));
  EXPECT_EQ(Of(facts, Stage::kCommitWait), absl::Milliseconds(2));
  EXPECT_EQ(Of(facts, Stage::kCommit), absl::Milliseconds(4));
  EXPECT_EQ(Of(facts, Stage::kDeferred), absl::Milliseconds(8));
  EXPECT_EQ(Of(facts, Stage::kQueue), absl::Milliseconds(16));
  EXPECT_EQ(Of(facts, Stage::kConnect), absl::Milliseconds(32));
  EXPECT_EQ(Of(facts, Stage::kTls), absl::Milliseconds(64));
  EXPECT_EQ(Of(facts, Stage::kAuth), absl::Milliseconds(128));
  EXPECT_EQ(Of(facts, Stage::kEnvelope), absl::Milliseconds(256));
  EXPECT_EQ(Of(facts, Stage::kData), absl::Milliseconds(512));
  EXPECT_EQ(Of(facts, Stage::kEndOfData), absl::Milliseconds(1024));
}

TEST(StagesTest, TogetherTheyAreTheTimeFromMailToTheAnswer) {
  EXPECT_EQ(Sum(Usual()), absl::Milliseconds(2047));
}

TEST(StagesTest, WaitingBeforeTheFirstAttemptIsTheQueues) {
  EXPECT_EQ(Of(Usual(), Stage::kDeferred), absl::ZeroDuration());
  EXPECT_EQ(Of(Usual(), Stage::kQueue), absl::Milliseconds(8 + 16));
}

// A pass of many transactions, or several passes on one session.
TEST(StagesTest, WaitingForOthersOnTheSameSessionIsTheQueues) {
  StageFacts facts = Usual();
  facts.times.handed_out = At(255 + 100);
  EXPECT_EQ(Of(facts, Stage::kQueue), absl::Milliseconds(8 + 16 + 100));
  EXPECT_EQ(Of(facts, Stage::kEnvelope), absl::Milliseconds(156));
  EXPECT_EQ(Sum(facts), absl::Milliseconds(2047));
}

TEST(StagesTest, ASessionThatStoodCostsNothing) {
  StageFacts facts = Usual();
  facts.times.connected = facts.times.handed_out = facts.times.taken;
  facts.session = {};
  EXPECT_EQ(Of(facts, Stage::kConnect) + Of(facts, Stage::kTls) + Of(facts, Stage::kAuth),
            absl::ZeroDuration());
}

// Read back from the store, or found there at start: what came before is known by age alone.
TEST(StagesTest, MailOfUnknownBeginningWaitedAsLongAsItIsOld) {
  StageFacts facts = Usual();
  facts.accepted.reset();
  EXPECT_EQ(Of(facts, Stage::kIntake), absl::ZeroDuration());
  EXPECT_EQ(Of(facts, Stage::kQueue), absl::Milliseconds(15 + 16));
  EXPECT_EQ(Sum(facts), absl::Milliseconds(2047));
  facts.attempted_before = true;
  EXPECT_EQ(Of(facts, Stage::kDeferred), absl::Milliseconds(15));
  EXPECT_EQ(Sum(facts), absl::Milliseconds(2047));
}

// Two clocks: the committer's own, and the turns of the loop.
TEST(StagesTest, NoStageIsNegativeWhateverTheClocksSay) {
  StageFacts facts = Usual();
  facts.accepted->commit_wait = absl::Seconds(10);
  facts.session = {absl::Seconds(10), absl::Seconds(10)};
  for (const int64_t each : MeasureStages(facts)) EXPECT_GE(each, 0);
  EXPECT_EQ(Sum(facts), absl::Milliseconds(2047));
  facts.accepted.reset();
  facts.age = absl::ZeroDuration();
  for (const int64_t each : MeasureStages(facts)) EXPECT_GE(each, 0);
}

TEST(StagesTest, EachHasItsOwnName) {
  std::set<std::string> names;
  for (size_t i = 0; i < kStages; ++i) names.emplace(StageName(static_cast<Stage>(i)));
  EXPECT_EQ(names.size(), kStages);
  EXPECT_FALSE(names.contains(""));
}

TEST(StagesTest, EveryDeliveryCountsInEveryStageButTheRecord) {
  StageTimes times;
  RecordStages(Usual(), &times);
  for (size_t i = 0; i < kStages; ++i) {
    const auto stage = static_cast<Stage>(i);
    EXPECT_EQ(times.Of(stage).count(), stage == Stage::kRecord ? 0u : 1u) << StageName(stage);
  }
  EXPECT_EQ(times.Of(Stage::kData).sum(), 512'000u);
}

}  // namespace
}  // namespace mailrace::engine
