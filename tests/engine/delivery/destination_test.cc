// A destination that is down, slow or rationed; and the disk that cannot record.
#include <algorithm>

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DestinationTest : public DeliveryFixture {
 protected:
  void RelayDown(bool down) { host_->network().SetRefused(sim::RelayAddress(), down); }
};

TEST_F(DestinationTest, ADeadDestinationIsSuspendedAndChargesNobody) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(8));
  const uint64_t connects = host_->network().connects();
  EXPECT_LE(connects, 10u);  // One cohort of the initial concurrency, not one a message.
  EXPECT_EQ(host_->counts().deferred, 0u);
  for (const queue::RecoveredMessage& message : Stored()) EXPECT_FALSE(message.has_retry);
  EXPECT_THAT(Logged("delivery suspended"), SizeIs(1));
}

TEST_F(DestinationTest, ItIsResumedByItself) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  RelayDown(false);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 20u);
  EXPECT_EQ(Stored().size(), 0u);
}

TEST_F(DestinationTest, ABacklogRampsUpInsteadOfStampeding) {
  settings_.limits.initial_concurrency = 3;
  Start();
  RelayDown(true);
  for (int i = 0; i < 600; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(1));
  RelayDown(false);
  host_->network().set_faults({.latency_max = absl::Milliseconds(100)});
  ASSERT_TRUE(host_->RunUntil([&] { return delivered() > 0; }, absl::Minutes(5)));
  // Probes, and one more for what the first of them has just delivered.
  EXPECT_LE(host_->relay().sessions_open(), 4u);
  size_t most = 0;
  while (delivered() < 600) {
    const size_t before = delivered();
    host_->RunFor(absl::Milliseconds(10));
    most = std::max(most, host_->relay().sessions_open());
    // The window opens by one a delivery at most.
    ASSERT_LE(host_->relay().sessions_open(), 4 + std::max(before, delivered()));
  }
  EXPECT_EQ(most, 20u);
}

TEST_F(DestinationTest, WhileItStaysDeadItIsTriedLessAndLess) {
  Start();
  RelayDown(true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(1));
  // 10, 20, 40, 80, 160, then every 300 s.
  EXPECT_THAT(Logged("delivery suspended for 10s"), SizeIs(1));
  EXPECT_THAT(Logged("delivery suspended for 300s"),
              SizeIs(testing::AllOf(testing::Ge(10u), testing::Le(12u))));
}

TEST_F(DestinationTest, MailExpiresAlsoWhileItIsDead) {
  settings_.retry.lifetime = absl::Hours(1);
  settings_.retry.bounce_lifetime = absl::Hours(1);
  Start();
  RelayDown(true);
  for (int i = 0; i < 8; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(4));
  EXPECT_EQ(stats().expired.value(), 16u);  // Eight, and the eight notices of them.
  EXPECT_EQ(stats().dsn_sent.value(), 8u);
  EXPECT_EQ(Queued(), 0u);
  EXPECT_EQ(Stored().size(), 0u);
}

TEST_F(DestinationTest, ABacklogExpiresAtOnceNotAFewAtATime) {
  settings_.retry.lifetime = absl::Hours(1);
  settings_.limits.failed_cohort_limit = 1;
  Start();
  RelayDown(true);
  for (int i = 0; i < 500; ++i) Submit(To({"a@example.com"}, ""));
  settings_.retry.bounce_lifetime = absl::Hours(1);
  Reload();
  host_->RunFor(absl::Minutes(75));
  EXPECT_EQ(stats().expired.value(), 500u);
  EXPECT_EQ(Stored().size(), 0u);
}

TEST_F(DestinationTest, WithoutACohortLimitMailIsDeferredAndNothingSpins) {
  settings_.limits.failed_cohort_limit = 0;
  Start();
  RelayDown(true);
  for (int i = 0; i < 3; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(60));
  EXPECT_EQ(host_->network().connects(), 3u);
  EXPECT_EQ(host_->counts().deferred, 3u);
  RelayDown(false);
  host_->RunFor(absl::Seconds(300));
  EXPECT_EQ(delivered(), 3u);
}

TEST_F(DestinationTest, ARefusingGreetingIsTheDestinationsFaultNotTheMails) {
  Start();
  Answer(Step::kGreeting, "554 5.7.1 go away", 5);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(9));
  EXPECT_EQ(host_->network().connects(), 1u) << "the same mail learns nothing by asking again";
  // 10, 20, 40, 80 and 160 seconds.
  host_->RunFor(absl::Seconds(310));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_EQ(stats().failed.value(), 0u);
  EXPECT_THAT(Logged("status=bounced"), IsEmpty());
}

TEST_F(DestinationTest, OtherDestinationsGoOn) {
  settings_.relayhost.clear();
  Start();
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("dead.test", {sim::RelayAddress().ip});
  host_->resolver().Add("live.test", {other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  RelayDown(true);
  for (int i = 0; i < 10; ++i) Submit(To({"a@dead.test"}));
  for (int i = 0; i < 10; ++i) Submit(To({"a@live.test"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 10u);
}

TEST_F(DestinationTest, TheNextAddressIsTriedWhenOneIsDown) {
  Start();
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("relay.test", {sim::RelayAddress().ip, other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  RelayDown(true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(Logged("relay=relay.test[192.0.2.9]:25"), SizeIs(1));
}

TEST_F(DestinationTest, TheRateDelaySpacesDeliveries) {
  settings_.limits.rate_delay = absl::Seconds(10);
  settings_.connection_cache_time_limit = absl::Seconds(60);
  Start();
  for (int i = 0; i < 4; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 2u);
  host_->RunFor(absl::Seconds(20));
  EXPECT_EQ(delivered(), 4u);
}

TEST_F(DestinationTest, WhileOutcomesCannotBeRecordedNothingNewIsSent) {
  settings_.limits.initial_concurrency = 1;
  settings_.limits.concurrency_limit = 1;
  Start();
  Submit(To({"a@example.com"}));
  // The disk fills between the acknowledgement and the outcome.
  store_.FailCommits(INT_MAX, absl::ResourceExhaustedError("No space left on device"));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_EQ(stats().uncommitted_outcomes.value(), 1u);
  EXPECT_TRUE(absl::IsResourceExhausted(host_->shard().Admit(0)));
  // Mail that was acknowledged before stays where it is.
  store_.FailCommits(0, absl::OkStatus());
  store_.FailCommits(1, absl::ResourceExhaustedError("No space left on device"));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().uncommitted_outcomes.value(), 0u);
  EXPECT_EQ(Stored().size(), 0u);
  EXPECT_TRUE(host_->shard().Admit(0).ok());
}

TEST_F(DestinationTest, AFullDiskHoldsBackWaitingMailAndSpaceLetsItGo) {
  settings_.limits.initial_concurrency = 1;
  settings_.limits.concurrency_limit = 1;
  settings_.connection_reuse = false;
  Start();
  RelayDown(true);
  for (int i = 0; i < 5; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  store_.FailCommits(INT_MAX, absl::ResourceExhaustedError("No space left on device"));
  RelayDown(false);
  host_->RunFor(absl::Seconds(30));
  // What was sent before the first refusal was known, and not one more.
  const size_t sent = delivered();
  EXPECT_LE(sent, 3u);
  host_->RunFor(absl::Minutes(30));
  EXPECT_EQ(delivered(), sent);
  store_.FailCommits(0, absl::OkStatus());
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 5u);
  EXPECT_EQ(Stored().size(), 0u);
}

TEST_F(DestinationTest, AFailedSyncIsFatal) {
  Start();
  store_.FailCommits(1, absl::DataLossError("fdatasync: Input/output error"));
  EXPECT_FALSE(host_->Submit(To({"a@example.com"}), "x\r\n").ok());
  EXPECT_TRUE(host_->fatal());
  Crash();
}

TEST_F(DestinationTest, StoppingDoesNotWaitForAddressesThatNobodyAnswers) {
  Start();
  host_->resolver().Add("relay.test", {*IpAddress::Parse("192.0.2.77"), sim::RelayAddress().ip});
  sim::NetworkFaults lost;
  lost.connect_lost_percent = 100;
  host_->network().set_faults(lost);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  const absl::Time begun = host_->clock().Wall();
  host_->shard().Drain();
  host_->shard().Cancel();
  host_->Run(host_->shard().Join(host_->loop().now() + absl::Seconds(5)));
  EXPECT_LT(host_->clock().Wall() - begun, absl::Seconds(1));
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(DestinationTest, ASessionMadeByTheOldPolicyTakesNoMailOfTheNewOne) {
  Start();
  // The reload comes while the server has not greeted yet.
  bool reloaded = false;
  script_ = [this, &reloaded](Step step, std::string_view) -> std::optional<Act> {
    if (step == Step::kEhlo && !std::exchange(reloaded, true)) Reload();
    return std::nullopt;
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 2u);
  EXPECT_EQ(host_->network().connects(), 2u);
}

TEST_F(DestinationTest, OneRefusedLoginStopsTheCredentialForAWhile) {
  auto policy = std::make_shared<sim::PlainPolicy>();
  policy->credentials = transport::sasl::Credentials{"user", "secret"};
  settings_.policy = policy;
  settings_.sasl_failure_pause = absl::Seconds(300);
  Start();
  host_->relay().set_keywords({"PIPELINING", "AUTH PLAIN"});
  Answer(Step::kAuth, "535 5.7.8 wrong");
  for (int i = 0; i < 10; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(250));
  EXPECT_EQ(book_.auths, 1u);
  EXPECT_EQ(stats().failed.value(), 0u);
  for (const std::string& line : log_.texts()) EXPECT_THAT(line, testing::Not(HasSubstr("secret")));
  // Corrected: mail flows after a reload without waiting for the pause.
  script_ = nullptr;
  Reload();
  host_->RunFor(absl::Seconds(300));
  EXPECT_EQ(delivered(), 10u);
}

}  // namespace
}  // namespace mailrace::engine
