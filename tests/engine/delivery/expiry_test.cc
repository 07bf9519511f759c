// Mail whose lifetime ends while its destination is dead.
#include "engine/expiry_sweep.h"

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::IsEmpty;

class Expiry : public DeliveryFixture {
 protected:
  Expiry() {
    settings_.retry.lifetime = absl::Hours(1);
    settings_.retry.bounce_lifetime = absl::Hours(1);
  }
  void RelayDown() { host_->network().SetRefused(sim::RelayAddress(), true); }
  void SubmitMany(int messages, uint8_t priority = 1, const std::string& tenant = "") {
    for (int i = 0; i < messages; ++i) {
      queue::Envelope envelope = To({"a@example.com"}, "");
      envelope.priority = priority;
      envelope.tenant = tenant;
      Submit(std::move(envelope));
    }
  }
};

TEST_F(Expiry, ABacklogOnTheDiskExpiresWithinMinutesNotAFewAProbe) {
  settings_.memory_octets_max = 1;
  Start();
  RelayDown();
  SubmitMany(3000);
  host_->RunFor(absl::Minutes(59));
  EXPECT_EQ(stats().expired.value(), 0u);
  // The next probe is at most five minutes away; then 3,200 a second.
  host_->RunFor(absl::Minutes(7));
  EXPECT_EQ(stats().expired.value(), 3000u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Expiry, YoungMailInFrontKeepsNoOldMailBehindIt) {
  settings_.memory_octets_max = 1;
  Start();
  RelayDown();
  SubmitMany(50, 2, "campaign");
  SubmitMany(50, 1);
  host_->RunFor(absl::Minutes(40));
  SubmitMany(50, 0);
  host_->RunFor(absl::Minutes(30));
  EXPECT_EQ(stats().expired.value(), 100u);
  EXPECT_EQ(Queued(), 50u);
  host_->RunFor(absl::Minutes(45));
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(Expiry, ItGoesAtABoundedPace) {
  Start();
  RelayDown();
  SubmitMany(2000);
  ASSERT_TRUE(host_->RunUntil([&] { return stats().expired.value() > 0; }, absl::Hours(2)));
  uint64_t before = stats().expired.value();
  while (before < 2000) {
    host_->RunFor(ExpirySweep::kPause);
    EXPECT_LE(stats().expired.value() - before, 2 * ExpirySweep::kGiveUpsAtOnce);
    ASSERT_GT(stats().expired.value(), before);
    before = stats().expired.value();
  }
}

TEST_F(Expiry, AnOperatorsSuspensionKeepsTheMail) {
  Start();
  RelayDown();
  SubmitMany(20);
  host_->RunFor(absl::Minutes(1));
  queue::NexthopQueue* const relay = host_->shard().scheduler().FindNexthop("[relay.test]:25");
  ASSERT_NE(relay, nullptr);
  relay->Suspend(MonoTime::Infinite(), "moving house");
  host_->RunFor(absl::Hours(5));
  EXPECT_EQ(stats().expired.value(), 0u);
  EXPECT_EQ(Queued(), 20u);
  relay->Resume();
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(stats().expired.value(), 20u);
}

TEST_F(Expiry, WhatCannotBeReadIsHeldNotDropped) {
  settings_.memory_octets_max = 1;
  Start();
  RelayDown();
  SubmitMany(1000);  // More than probes have read already.
  host_->RunFor(absl::Minutes(50));
  host_->reader().set_failure_percent(100);
  host_->RunFor(absl::Minutes(30));
  EXPECT_GT(host_->counts().held, 0u);
  EXPECT_EQ(stats().expired.value() + host_->counts().held, 1000u);
  EXPECT_EQ(Stored().size(), host_->counts().held);
}

}  // namespace
}  // namespace mailrace::engine
