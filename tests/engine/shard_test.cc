// A shard and its queue: memory, evictions, the operator's wishes, reloads, restarts.
#include "engine/shard.h"

#include <algorithm>

#include "fmt/format.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using testing::UnorderedElementsAreArray;

class ShardTest : public DeliveryFixture {
 protected:
  void RelayDown(bool down) { host_->network().SetRefused(sim::RelayAddress(), down); }
};

TEST_F(ShardTest, AcknowledgedMailIsOnTheDiskAndSurvivesACrash) {
  settings_.delivery_deferred = true;
  Start();
  const QueueId id = Submit(To({"a@example.com"}));
  settings_.delivery_deferred = false;
  Crash();
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
  EXPECT_THAT(Logged(id.ToString() + ": removed"), SizeIs(1));
}

TEST_F(ShardTest, DeferredMailLeavesMemoryAndIsReadBack) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().memory_octets.value(), 0u);
  EXPECT_EQ(host_->reader().messages_read(), 0u);
  host_->RunFor(absl::Seconds(300));
  EXPECT_EQ(host_->reader().messages_read(), 1u);
  ASSERT_EQ(delivered(), 1u);
  EXPECT_EQ(book_.deliveries[0].content, "Subject: x\r\n\r\nhello\r\n");
}

TEST_F(ShardTest, BeyondTheMemoryBudgetMailWaitsOnTheDisk) {
  settings_.memory_octets_max = 1;
  Start();
  for (int i = 0; i < 5; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 5u);
  EXPECT_EQ(host_->reader().messages_read(), 5u);
  EXPECT_EQ(stats().memory_octets.value(), 0u);
}

TEST_F(ShardTest, ProbesOfADeadDestinationLeaveNothingInMemoryBeyondTheBudget) {
  settings_.memory_octets_max = 1;
  settings_.limits.initial_concurrency = 20;
  Start();
  RelayDown(true);
  for (int i = 0; i < 20; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(Queued(), 20u);
  EXPECT_EQ(stats().memory_octets.value(), 0u);
}

// A backlog whose destination is tried again has nothing in memory: what is read back for it is
// what its sessions need, not all of it before the first of it counts.
TEST_F(ShardTest, ABacklogIsReadBackWithinTheBudget) {
  settings_.memory_octets_max = 20'000;
  settings_.limits.initial_concurrency = 2;
  settings_.limits.concurrency_limit = 2;
  settings_.delivery_deferred = true;
  Start();
  std::string content = "Subject: x\r\n\r\n";
  for (int line = 0; line < 50; ++line) content += std::string(98, 'x') + "\r\n";
  for (int i = 0; i < 40; ++i) Submit(To({"a@example.com"}), content);
  ASSERT_EQ(stats().memory_octets.value(), 0u);
  host_->network().SetSilent(sim::RelayAddress(), true);
  host_->reader().set_delay_max(absl::Milliseconds(50));
  uint64_t most = 0;
  host_->OnStep([&] { most = std::max(most, stats().memory_octets.value()); });
  settings_.delivery_deferred = false;
  Reload();
  host_->RunFor(absl::Seconds(20));
  EXPECT_EQ(host_->counts().in_flight, 2u);
  EXPECT_LE(most, 20'000u + 2 * 6'000u);
  host_->network().SetSilent(sim::RelayAddress(), false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 40u);
}

TEST_F(ShardTest, WhoWasRefusedALoadHasItsTurnWhenOthersAreThrough) {
  // More mail is to be read back at once than may be: the last destinations get no load at
  // all at first, and nothing of their own would remind of them.
  settings_.relayhost.clear();
  settings_.limits.initial_concurrency = 20;
  settings_.delivery_deferred = true;
  Start();
  std::vector<std::string> expected;
  for (int domain = 0; domain < 20; ++domain) {
    const std::string name = fmt::format("d{}.test", domain);
    host_->resolver().Add(name, {sim::RelayAddress().ip});
    for (int i = 0; i < 20; ++i) {
      expected.push_back(fmt::format("u{}@{}", i, name));
      Submit(To({expected.back()}));
    }
  }
  host_->reader().set_delay_max(absl::Seconds(1));
  settings_.delivery_deferred = false;
  Reload();
  host_->RunFor(absl::Minutes(1));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAreArray(expected));
}

TEST_F(ShardTest, JobsOfOneMessageShareOneState) {
  // Two nexthops, read back at once, answers in any order: who was delivered by one job is
  // not delivered again by the other.
  settings_.relayhost.clear();
  settings_.memory_octets_max = 1;
  Start();
  host_->reader().set_delay_max(absl::Milliseconds(200));
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("one.test", {sim::RelayAddress().ip});
  host_->resolver().Add("two.test", {other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  for (int i = 0; i < 50; ++i) Submit(To({"a@one.test", "b@two.test"}));
  host_->RunFor(absl::Seconds(30));
  EXPECT_EQ(delivered(), 100u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardTest, ABodyThatCannotBeReadIsHeldNotSentEmpty) {
  settings_.memory_octets_max = 1;
  Start();
  host_->reader().set_failure_percent(100);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_EQ(host_->counts().held, 1u);
  host_->reader().set_failure_percent(0);
  EXPECT_TRUE(host_->shard().Unhold(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ShardTest, HeldMailWaitsUntilItIsReleasedAlsoOverARestart) {
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_TRUE(host_->shard().Hold(id));
  host_->RunFor(absl::Seconds(1));
  Restart();
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_EQ(host_->counts().held, 1u);
  EXPECT_TRUE(host_->shard().Unhold(id));
  EXPECT_FALSE(host_->shard().Unhold(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardTest, ReleasedMailIsNotHeldAgainByItsNextDeferral) {
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_TRUE(host_->shard().Hold(id));
  host_->RunFor(absl::Seconds(1));
  ASSERT_TRUE(host_->shard().Unhold(id));
  RelayDown(false);
  Answer(Step::kMail, "451 4.3.0 later", 1);
  host_->RunFor(absl::Seconds(30));
  ASSERT_EQ(host_->counts().deferred, 1u);
  Restart();
  EXPECT_EQ(host_->counts().held, 0u);
  host_->RunFor(absl::Seconds(600));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ShardTest, TheLastWishCountsHoweverQuicklyItChanges) {
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  // Out of memory, so that the disk is asked, which answers in any order.
  Restart();
  host_->reader().set_delay_max(absl::Milliseconds(100));
  RelayDown(true);
  host_->RunFor(absl::Seconds(5));
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(host_->shard().Hold(id));
    ASSERT_TRUE(host_->shard().Unhold(id));
    ASSERT_TRUE(host_->shard().Hold(id));
    host_->RunFor(absl::Seconds(1));
    std::vector<queue::RecoveredMessage> stored = Stored();
    ASSERT_THAT(stored, SizeIs(1));
    EXPECT_TRUE(stored[0].retry.held);
    ASSERT_TRUE(host_->shard().Unhold(id));
    ASSERT_TRUE(host_->shard().Hold(id));
    ASSERT_TRUE(host_->shard().Unhold(id));
    host_->RunFor(absl::Milliseconds(500));
    stored = Stored();
    EXPECT_FALSE(stored[0].retry.held);
  }
}

TEST_F(ShardTest, RemovedMailIsGoneWithoutANotice) {
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_TRUE(host_->shard().Remove(id));
  EXPECT_FALSE(host_->shard().Remove(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(Stored(), IsEmpty());
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_EQ(stats().dsn_sent.value(), 0u);
}

TEST_F(ShardTest, MailInDeliveryIsNotRemoved) {
  Start();
  script_ = [](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    return Act{Act::Kind::kSilence, "", true};
  };
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_FALSE(host_->shard().Remove(id));
  EXPECT_FALSE(host_->shard().Hold(id));
}

TEST_F(ShardTest, UnknownMailIsNeitherHeldNorRemoved) {
  Start();
  EXPECT_FALSE(host_->shard().Hold(QueueId{4711}));
  EXPECT_FALSE(host_->shard().Unhold(QueueId{4711}));
  EXPECT_FALSE(host_->shard().Remove(QueueId{4711}));
}

TEST_F(ShardTest, FlushTriesDeferredMailNow) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 0u);
  host_->shard().Flush();
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ShardTest, DeferredTransportsKeepMailUntilAReloadOrAFlush) {
  settings_.delivery_deferred = true;
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_EQ(host_->network().connects(), 0u);
  EXPECT_EQ(stats().memory_octets.value(), 0u);
  host_->shard().Flush();
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
  Submit(To({"b@example.com"}));
  settings_.delivery_deferred = false;
  Reload();
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 2u);
}

TEST_F(ShardTest, AReloadSendsWaitingMailToTheNewRelay) {
  Start();
  RelayDown(true);
  Submit(To({"a@example.com", "b@example.com"}));
  host_->RunFor(absl::Seconds(5));
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("other.test", {other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  settings_.relayhost = "[other.test]:25";
  Reload();
  host_->RunFor(absl::Minutes(10));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAre("a@example.com", "b@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardTest, AReloadDoesNotSendAgainWhatIsBeingSent) {
  settings_.relayhost.clear();
  Start();
  const SocketAddress slow{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("slow.test", {slow.ip});
  host_->resolver().Add("down.test", {sim::RelayAddress().ip});
  ASSERT_TRUE(host_->relay().Listen(slow).ok());
  RelayDown(true);
  bool silent = false;
  script_ = [&silent](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData || std::exchange(silent, true)) return std::nullopt;
    return Act{Act::Kind::kSilence, "", true};
  };
  Submit(To({"a@slow.test", "b@down.test"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_TRUE(silent);
  // Both go to the relay from now on; but of one of them we do not know yet.
  settings_.relayhost = "[relay.test]:25";
  Reload();
  RelayDown(false);
  host_->RunFor(absl::Minutes(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@slow.test", "b@down.test"));
  host_->RunFor(absl::Hours(1));
  EXPECT_THAT(Logged("more than once"), SizeIs(1));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@slow.test", "b@down.test", "a@slow.test"));
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ShardTest, MailIsRemovedAlsoFromAFullDiskOnceItHasRoom) {
  Start();
  RelayDown(true);
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  store_.FailCommits(3, absl::ResourceExhaustedError("No space left on device"));
  EXPECT_TRUE(host_->shard().Remove(id));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Stored(), SizeIs(1));
  host_->RunFor(absl::Seconds(10));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardTest, LittleSpaceRefusesNewMailAndOnlyThat) {
  Start();
  store_.set_free_octets(1000);
  EXPECT_TRUE(absl::IsResourceExhausted(host_->shard().Admit(0)));
  store_.set_free_octets(uint64_t{1} << 40);
  EXPECT_TRUE(host_->shard().Admit(0).ok());
}

TEST_F(ShardTest, ACommitWithoutSpaceRefusesTheMessageAndGoesOn) {
  Start();
  store_.FailCommits(1, absl::ResourceExhaustedError("No space left on device"));
  EXPECT_FALSE(host_->Submit(To({"a@example.com"}), "x\r\n").ok());
  EXPECT_FALSE(host_->fatal());
  EXPECT_EQ(stats().intake_refused.value(), 1u);
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("b@example.com"));
}

TEST_F(ShardTest, ADrainingShardAdmitsNothingAndSendsNothingNew) {
  Start();
  RelayDown(true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  host_->shard().Drain();
  RelayDown(false);
  EXPECT_TRUE(absl::IsUnavailable(host_->shard().Admit(0)));
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(ShardTest, IdsAreNeverUsedAgainWhateverTheClockDoes) {
  Start();
  const QueueId first = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_THAT(Stored(), IsEmpty());
  host_->clock().JumpWall(-absl::Hours(24 * 365 * 10));
  const QueueId second = Submit(To({"a@example.com"}));
  EXPECT_GT(second, first);
  host_->RunFor(absl::Seconds(5));
  Restart();  // With the clock still ten years back.
  const QueueId third = Submit(To({"a@example.com"}));
  EXPECT_GT(third, second);
}

TEST_F(ShardTest, AClockThatIsSetBouncesNobody) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 3);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  host_->clock().JumpWall(-absl::Hours(24 * 365));
  host_->RunFor(absl::Hours(3));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_EQ(stats().expired.value(), 0u);
}

}  // namespace
}  // namespace mailrace::engine
