// The records of one message, written by deliveries, operators and retries of a full disk:
// in their order, and none is left behind. Found by the simulation (tests/sim).
#include "engine/shard.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class RecordOrderTest : public DeliveryFixture {
 protected:
  void RelayDown(bool down) { host_->network().SetRefused(sim::RelayAddress(), down); }
};

TEST_F(RecordOrderTest, AnOutcomeThatWaitedForSpaceDoesNotOutliveItsMessage) {
  settings_.limits.recipient_limit = 1;
  Start();
  int ends = 0;
  script_ = [&ends](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData || ++ends == 1) return std::nullopt;
    Act act;
    act.kind = Act::Kind::kUsual;
    act.delay = absl::Milliseconds(100);
    return act;
  };
  Submit(To({"a@example.com", "b@example.com"}));
  // The first outcome finds no room; the second, which ends the message, does.
  store_.FailCommits(1, absl::ResourceExhaustedError("No space left on device"));
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 2u);
  EXPECT_THAT(Logged("cannot record outcome"), SizeIs(1));
  EXPECT_THAT(store_.Keys(), IsEmpty());
}

TEST_F(RecordOrderTest, ADeferralThatWaitedForSpaceDoesNotOutliveItsMessage) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 1);
  Submit(To({"a@example.com"}));
  // Its first deferral finds no room; an operator flushes before it is tried again.
  store_.FailCommits(1, absl::ResourceExhaustedError("No space left on device"));
  host_->RunFor(absl::Milliseconds(500));
  host_->shard().Flush();
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(store_.Keys(), IsEmpty());
}

TEST_F(RecordOrderTest, AReleaseWhileTheMessageIsReadBackLeavesNoRecord) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  Restart();  // Out of memory, so that the disk is asked, which answers in any order.
  host_->reader().set_delay_max(absl::Milliseconds(100));
  for (const queue::RecoveredMessage& message : Stored()) {
    host_->shard().Hold(message.envelope.id);
    host_->shard().Unhold(message.envelope.id);
  }
  host_->RunFor(absl::Seconds(60));
  EXPECT_EQ(delivered(), 20u);
  EXPECT_THAT(store_.Keys(), IsEmpty());
}

TEST_F(RecordOrderTest, ARemovalRightAfterAHoldLeavesNoRecord) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  Restart();
  RelayDown(true);
  host_->reader().set_delay_max(absl::Milliseconds(100));
  for (const queue::RecoveredMessage& message : Stored()) {
    host_->shard().Hold(message.envelope.id);
    host_->shard().Remove(message.envelope.id);
  }
  host_->RunFor(absl::Seconds(60));
  EXPECT_THAT(store_.Keys(), IsEmpty());
  EXPECT_EQ(stats().memory_octets.value(), 0u);
}

TEST_F(RecordOrderTest, AMessageWhoseBodyCannotBeReadCanBeRemoved) {
  settings_.memory_octets_max = 1;
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  queue::WriteSet damage;
  damage.RemoveChunks(id, 1);
  const queue::WriteSet* const group[] = {&damage};
  ASSERT_TRUE(store_.Commit(group).ok());
  Restart();
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(host_->counts().held, 1u);
  EXPECT_TRUE(host_->shard().Remove(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(store_.Keys(), IsEmpty());
}

TEST_F(RecordOrderTest, AMessageThatCannotBeReadAtAllIsNotLostFromTheQueueByItsRemoval) {
  settings_.memory_octets_max = 1;
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  Restart();
  RelayDown(true);
  host_->reader().set_failure_percent(100);
  host_->shard().Hold(id);
  EXPECT_TRUE(host_->shard().Remove(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(host_->counts().held, 1u);
  EXPECT_THAT(Logged("cannot be changed"), Not(IsEmpty()));
  host_->reader().set_failure_percent(0);
  EXPECT_TRUE(host_->shard().Remove(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(store_.Keys(), IsEmpty());
}

TEST_F(RecordOrderTest, AReleasedMessageGoesWhenTheRateDelayIsOver) {
  settings_.limits.rate_delay = absl::Seconds(10);
  settings_.connection_reuse = false;
  Start();
  RelayDown(true);
  const QueueId held = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_TRUE(host_->shard().Hold(held));
  RelayDown(false);
  host_->RunFor(absl::Minutes(1));
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(delivered(), 1u);
  ASSERT_TRUE(host_->shard().Unhold(held));
  host_->RunFor(absl::Seconds(20));
  EXPECT_EQ(delivered(), 2u);
}

}  // namespace
}  // namespace mailrace::engine
