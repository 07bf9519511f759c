// Late mail that nobody tries: its sender hears of it all the same.
#include "engine/delay_watch.h"

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A relay that is down from the beginning: the first message is tried, the others wait.
class DelayWatchTest : public DeliveryFixture {
 protected:
  DelayWatchTest() {
    settings_.bounces.delay_warning_time = absl::Hours(1);
    settings_.retry.minimal_backoff = absl::Hours(10);  // Long suspensions: few probes.
  }
  void StartWithRelayDown() {
    Start();
    host_->network().SetRefused(sim::RelayAddress(), true);
  }
  size_t Told() const { return Logged("sender delay notification").size(); }
};

TEST_F(DelayWatchTest, MailInTheLineOfADeadDestinationIsLateToo) {
  StartWithRelayDown();
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(59));
  EXPECT_EQ(Told(), 0u);
  host_->RunFor(absl::Minutes(2));
  EXPECT_EQ(Told(), 20u);
  host_->RunFor(absl::Hours(5));
  EXPECT_EQ(Told(), 20u);
  host_->network().SetRefused(sim::RelayAddress(), false);
  host_->shard().Flush();
  host_->RunFor(absl::Minutes(1));
  EXPECT_THAT(Stored(), IsEmpty());
  ASSERT_EQ(delivered(), 40u);
  std::vector<std::string> notices;
  for (const auto& delivery : book_.deliveries) {
    if (delivery.reverse_path.empty()) notices.push_back(delivery.content);
  }
  EXPECT_THAT(notices, SizeIs(20));
  EXPECT_THAT(notices, Each(AllOf(HasSubstr("Action: delayed"), HasSubstr("Connection refused"))));
}

TEST_F(DelayWatchTest, NoAttemptIsChargedForIt) {
  StartWithRelayDown();
  for (int i = 0; i < 5; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  for (const queue::RecoveredMessage& message : Stored()) {
    if (message.envelope.reverse_path.empty()) continue;
    EXPECT_TRUE(message.retry.delay_warning_sent);
    EXPECT_EQ(message.retry.attempts, 0u);
  }
}

TEST_F(DelayWatchTest, WhatBecameLateWhileWeWereAwayIsFoundAtStart) {
  StartWithRelayDown();
  for (int i = 0; i < 5; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(1));
  host_.reset();
  start_ += absl::Hours(3);
  StartWithRelayDown();
  host_->RunFor(absl::Minutes(1));
  EXPECT_EQ(Told(), 5u);
  // And not again.
  Restart();
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(Told(), 5u);
}

TEST_F(DelayWatchTest, AStormTellsItsSenderSomeTimes) {
  settings_.bounces.delay_notices_per_sender = 4;
  StartWithRelayDown();
  for (int i = 0; i < 2000; ++i) Submit(To({"a@example.com"}));
  Submit(To({"a@example.com"}, "other@app.test"));
  host_->RunFor(absl::Hours(3));
  EXPECT_EQ(Told(), 5u);
  EXPECT_GE(stats().delay_notices_left_out.value(), 1996u);
  EXPECT_THAT(Logged("had 4 delay notifications within an hour"), SizeIs(1));
}

TEST_F(DelayWatchTest, MailThatSomebodyHoldsIsNotLate) {
  StartWithRelayDown();
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_TRUE(host_->shard().Hold(id));
  host_->RunFor(absl::Hours(3));
  EXPECT_EQ(Told(), 0u);
}

TEST_F(DelayWatchTest, WhoDidNotAskIsNotTold) {
  StartWithRelayDown();
  queue::Envelope envelope = To({"a@example.com"});
  envelope.recipients[0].notify = queue::kNotifyFailure | queue::kNotifySuccess;
  Submit(envelope);
  Submit(To({"a@example.com"}, ""));
  host_->RunFor(absl::Hours(3));
  EXPECT_EQ(Told(), 0u);
}

TEST_F(DelayWatchTest, AReloadBeginsIt) {
  settings_.bounces.delay_warning_time = absl::ZeroDuration();
  StartWithRelayDown();
  for (int i = 0; i < 3; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(Told(), 0u);
  settings_.bounces.delay_warning_time = absl::Hours(1);
  Reload();
  host_->RunFor(absl::Minutes(1));
  EXPECT_EQ(Told(), 3u);
}

}  // namespace
}  // namespace mailrace::engine
