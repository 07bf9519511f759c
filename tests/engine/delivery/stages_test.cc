// Where the time of delivered mail went, seen from outside: a relay that is slow at one thing
// makes one stage long, and all stages together are the delivery time.
#include "engine/stages.h"

#include <map>

#include "tests/engine/delivery/delivery_fixture.h"
#include "tests/sim/world/tls_policy.h"

namespace mailrace::engine {
namespace {

class StagesInDelivery : public DeliveryFixture {
 protected:
  StagesInDelivery() {
    // One session at a time.
    settings_.limits.initial_concurrency = 1;
    settings_.limits.concurrency_limit = 1;
  }
  // The relay takes so long at each of these.
  void Delay(std::map<Step, absl::Duration> delays) {
    script_ = [delays = std::move(delays)](Step now, std::string_view) -> std::optional<Act> {
      const auto found = delays.find(now);
      if (found == delays.end()) return std::nullopt;
      return Act{Act::Kind::kUsual, "", false, found->second};
    };
  }
  absl::Duration Mean(const Histogram& histogram) {
    if (histogram.count() == 0) return absl::ZeroDuration();
    return absl::Microseconds(histogram.sum() / histogram.count());
  }
  absl::Duration Mean(Stage stage) { return Mean(stats().stages.Of(stage)); }
  absl::Duration Sum() {
    absl::Duration sum;
    for (size_t i = 0; i < static_cast<size_t>(Stage::kRecord); ++i) {
      sum += Mean(static_cast<Stage>(i));
    }
    return sum;
  }
  // Whole microseconds are recorded, and each mean is cut off.
  static constexpr absl::Duration kExact = absl::Microseconds(2 * kStages);
};

TEST_F(StagesInDelivery, ASlowStepOfTheRelayIsItsOwnStage) {
  Start();
  Delay({{Step::kGreeting, absl::Seconds(1)},
         {Step::kMail, absl::Seconds(10)},
         {Step::kEndOfData, absl::Seconds(100)}});
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(200));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_GE(Mean(Stage::kConnect), absl::Seconds(1));
  EXPECT_LT(Mean(Stage::kConnect), absl::Seconds(2));
  EXPECT_GE(Mean(Stage::kEnvelope), absl::Seconds(10));
  EXPECT_LT(Mean(Stage::kEnvelope), absl::Seconds(11));
  EXPECT_GE(Mean(Stage::kEndOfData), absl::Seconds(100));
  EXPECT_LT(Mean(Stage::kEndOfData), absl::Seconds(101));
  EXPECT_EQ(stats().stages.Of(Stage::kRecord).count(), 1u);
  EXPECT_EQ(Mean(Stage::kTls), absl::ZeroDuration());
}

TEST_F(StagesInDelivery, HandshakeAndLoginAreStagesOfTheMessageThatWaitedForThem) {
  settings_.policy = std::make_shared<sim::EncryptPolicy>();
  settings_.connection_cache_time_limit = absl::Minutes(10);
  Start();
  host_->relay().set_tls(sim::RelayTlsContext());
  Delay({{Step::kStartTls, absl::Seconds(10)}, {Step::kAuth, absl::Seconds(100)}});
  for (int i = 0; i < 2; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(120));
  }
  ASSERT_EQ(delivered(), 2u);
  EXPECT_EQ(stats().tls_time.count(), 1u);
  EXPECT_GE(Mean(stats().tls_time), absl::Seconds(10));
  EXPECT_EQ(stats().auth_time.count(), 1u);
  EXPECT_GE(Mean(stats().auth_time), absl::Seconds(100));
  // The second had the session of the first, and waited for nothing of it.
  EXPECT_EQ(stats().stages.Of(Stage::kTls).count(), 2u);
  EXPECT_EQ(stats().stages.Of(Stage::kTls).sum(), stats().tls_time.sum());
  EXPECT_EQ(stats().stages.Of(Stage::kAuth).sum(), stats().auth_time.sum());
}

TEST_F(StagesInDelivery, TheyAddUpToTheDeliveryTime) {
  Start();
  Delay({{Step::kGreeting, absl::Milliseconds(700)},
         {Step::kMail, absl::Milliseconds(30)},
         {Step::kEndOfData, absl::Milliseconds(90)}});
  for (int i = 0; i < 50; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(2));
  ASSERT_EQ(delivered(), 50u);
  EXPECT_EQ(stats().delivery_time.count(), 50u);
  for (size_t i = 0; i < kStages; ++i) {
    EXPECT_EQ(stats().stages.of[i].count(), 50u) << StageName(static_cast<Stage>(i));
  }
  EXPECT_GT(Mean(Stage::kQueue), absl::Seconds(1)) << "49 wait for one session";
  EXPECT_LE(absl::AbsDuration(Sum() - Mean(stats().delivery_time)), kExact);
}

TEST_F(StagesInDelivery, InAStreamOfBdatTheyAddUpAsWell) {
  Start();
  host_->relay().set_keywords({"PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES"});
  Delay({{Step::kEndOfData, absl::Milliseconds(90)}});
  for (int i = 0; i < 50; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(2));
  ASSERT_EQ(delivered(), 50u);
  ASSERT_GT(book_.chunks, 0u) << "this is to be about BDAT";
  EXPECT_GE(Mean(Stage::kEndOfData), absl::Milliseconds(80));
  EXPECT_LE(absl::AbsDuration(Sum() - Mean(stats().delivery_time)), kExact);
}

TEST_F(StagesInDelivery, WhatEarlierAttemptsTookIsCalledDeferred) {
  Start();
  Answer(Step::kRcpt, "450 4.2.0 later", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(3));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_GE(Mean(Stage::kDeferred), settings_.retry.minimal_backoff);
  EXPECT_LT(Mean(Stage::kQueue), absl::Minutes(10));
  EXPECT_LE(absl::AbsDuration(Sum() - Mean(stats().delivery_time)), kExact);
}

TEST_F(StagesInDelivery, MailFromBeforeARestartAddsUpByItsAge) {
  Start();
  Answer(Step::kGreeting, "421 4.3.2 not now");
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(1));
  Crash();
  script_ = nullptr;
  host_->RunFor(absl::Hours(3));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_EQ(Mean(Stage::kIntake), absl::ZeroDuration());
  EXPECT_LE(absl::AbsDuration(Sum() - Mean(stats().delivery_time)), kExact);
}

TEST_F(StagesInDelivery, WhatASyncTakesIsTheCommits) {
  Start();
  host_->committer().set_delay_max(absl::Seconds(30));
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(30));
  ASSERT_EQ(delivered(), 20u);
  EXPECT_GT(Mean(Stage::kCommit) + Mean(Stage::kCommitWait), absl::Seconds(2));
  EXPECT_GT(Mean(Stage::kRecord), absl::Seconds(2));
  EXPECT_LE(absl::AbsDuration(Sum() - Mean(stats().delivery_time)), kExact);
}

}  // namespace
}  // namespace mailrace::engine
