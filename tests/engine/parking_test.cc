// Mail beyond the memory for jobs: parked, brought back, never twice.
#include "engine/parking.h"

#include <optional>

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class ParkingTest : public DeliveryFixture {
 protected:
  ParkingTest() { settings_.jobs_max = 8; }
  void RelayDown(bool down) { host_->network().SetRefused(sim::RelayAddress(), down); }
  // In short; what it comes to is durable then.
  OperationResult Operate(QueueId id, Operation::Kind kind) {
    OperationResult result = OperationResult::kNotHere;
    bool durable = false;
    host_->shard().operations().Operate(
        id, {kind, ""}, [&result](OperationResult said) { result = said; },
        [&durable](const absl::Status& status) { durable = status.ok(); });
    EXPECT_TRUE(host_->RunUntil([&durable] { return durable; }, absl::Seconds(10)));
    return result;
  }
  size_t InMemory() { return host_->shard().parking().jobs_in_memory(); }
};

TEST_F(ParkingTest, ADeadRelaysBacklogStaysOnTheDiskAndComesBackOnce) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 200; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_LE(InMemory(), 8u);
  EXPECT_EQ(Queued(), 200u);
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 200u);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ParkingTest, ALongQueueFoundAtStartIsParkedAndDelivered) {
  settings_.delivery_deferred = true;
  Start();
  for (int i = 0; i < 200; ++i) Submit(To({"a@example.com"}));
  settings_.delivery_deferred = false;
  Restart();
  EXPECT_LE(InMemory(), 8u);
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(delivered(), 200u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ParkingTest, DeferredMailThatIsParkedIsTriedAgainWhenItIsDue) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 100);
  for (int i = 0; i < 100; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(60));
  ASSERT_EQ(delivered(), 0u);
  EXPECT_LE(InMemory(), 8u);
  EXPECT_EQ(host_->counts().deferred, 100u);
  host_->RunFor(absl::Seconds(300) + 2 * Backlog::kInterval);
  EXPECT_EQ(delivered(), 100u);
}

TEST_F(ParkingTest, ADeadNexthopLeavesOthersTheirPlace) {
  settings_.relayhost.clear();
  Start();
  const SocketAddress dead{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("dead.test", {dead.ip});
  host_->resolver().Add("alive.test", {sim::RelayAddress().ip});
  host_->network().SetRefused(dead, true);
  for (int i = 0; i < 100; ++i) Submit(To({"a@dead.test"}));
  for (int i = 0; i < 20; ++i) Submit(To({"b@alive.test"}));
  host_->RunFor(absl::Minutes(1));
  EXPECT_EQ(delivered(), 20u);
  EXPECT_LE(InMemory(), 9u);
}

TEST_F(ParkingTest, HeldMailThatIsParkedIsReleasedAndRemoved) {
  Start();
  RelayDown(true);
  std::vector<QueueId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->RunFor(absl::Seconds(5));
  for (const QueueId id : ids) EXPECT_TRUE(host_->shard().Hold(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(host_->counts().held, 50u);
  EXPECT_LE(InMemory(), 8u);
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 0u);
  host_->shard().Remove(ids.front());
  for (size_t i = 1; i < ids.size(); ++i) host_->shard().Unhold(ids[i]);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 49u);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ParkingTest, EveryVerbIsDoneToParkedMailAndToldWhenItIsDurable) {
  Start();
  RelayDown(true);
  std::vector<QueueId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->RunFor(absl::Seconds(5));
  using Kind = Operation::Kind;
  EXPECT_EQ(Operate(ids[40], Kind::kHold), OperationResult::kDone);
  EXPECT_EQ(Operate(ids[40], Kind::kHold), OperationResult::kUnchanged);
  EXPECT_EQ(Operate(ids[41], Kind::kRelease), OperationResult::kUnchanged);
  EXPECT_EQ(Operate(ids[42], Kind::kRemove), OperationResult::kDone);
  EXPECT_EQ(Operate(ids[42], Kind::kRemove), OperationResult::kNotHere);
  EXPECT_EQ(Operate(ids[43], Kind::kBounce), OperationResult::kDone);
  EXPECT_THAT(Logged(ids[43].ToString() + ": from=<sender@app.test>, status=force-expired"),
              SizeIs(1));
  EXPECT_EQ(Queued(), 49u);  // Less two, and a notice.
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(Queued(), 1u);  // The held one.
  EXPECT_EQ(Operate(ids[40], Kind::kRelease), OperationResult::kDone);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 49u);
  EXPECT_EQ(Queued(), 0u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ParkingTest, ParkedMailIsSeenAsWhatItWaitsFor) {
  Start();
  RelayDown(true);
  std::vector<QueueId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->RunFor(absl::Seconds(5));
  Operate(ids[40], Operation::Kind::kHold);
  for (const queue::RecoveredMessage& message : Stored()) {
    const std::vector<JobFacts> facts = host_->shard().operations().Look(message);
    ASSERT_THAT(facts, SizeIs(1));
    EXPECT_EQ(facts[0].nexthop, "[relay.test]:25");
    const bool held = message.envelope.id == ids[40];
    EXPECT_EQ(facts[0].state, held ? JobFacts::State::kHeld : JobFacts::State::kDeferred);
    if (!held) EXPECT_THAT(facts[0].waits_for, testing::HasSubstr("Connection refused"));
  }
}

TEST_F(ParkingTest, OperatorsWhoGoThroughALongQueueFillNoMemory) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later");
  std::vector<QueueId> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->RunFor(absl::Seconds(60));
  ASSERT_EQ(host_->counts().deferred, 60u);
  for (const Operation::Kind kind : {Operation::Kind::kRelease, Operation::Kind::kFlush,
                                     Operation::Kind::kHold, Operation::Kind::kRelease}) {
    RelayDown(true);
    for (const QueueId id : ids) Operate(id, kind);
    host_->RunFor(absl::Seconds(1));  // What an operator did is recorded within milliseconds.
    EXPECT_LE(InMemory(), 9u);
    EXPECT_EQ(Queued(), 60u);
  }
  RelayDown(false);
  script_ = nullptr;
  host_->shard().Flush();
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(delivered(), 60u);
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ParkingTest, ParkedMailForADeadDestinationExpires) {
  settings_.retry.lifetime = absl::Hours(1);
  settings_.retry.bounce_lifetime = absl::Hours(1);
  Start();
  RelayDown(true);
  for (int i = 0; i < 300; ++i) Submit(To({"a@example.com"}, ""));
  host_->RunFor(absl::Minutes(59));
  EXPECT_EQ(stats().expired.value(), 0u);
  EXPECT_LE(InMemory(), 8u);
  host_->RunFor(absl::Minutes(15));
  EXPECT_EQ(stats().expired.value(), 300u);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ParkingTest, SendersHearOfLateMailThatIsParked) {
  settings_.bounces.delay_warning_time = absl::Hours(1);
  Start();
  RelayDown(true);
  std::vector<QueueId> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->RunFor(absl::Minutes(30));
  Operate(ids[20], Operation::Kind::kHold);  // Meant to wait.
  host_->RunFor(absl::Minutes(29));
  EXPECT_THAT(Logged("sender delay notification"), IsEmpty());
  host_->RunFor(absl::Minutes(3));
  EXPECT_THAT(Logged("sender delay notification"), SizeIs(29));
  host_->RunFor(absl::Hours(2));
  EXPECT_THAT(Logged("sender delay notification"), SizeIs(29));
}

TEST_F(ParkingTest, ADiskThatCannotBeReadDelaysMailAndLosesNone) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 100; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  host_->reader().set_failure_percent(100);
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_THAT(Logged("cannot look for parked mail, will try again"), SizeIs(1));
  EXPECT_EQ(Queued(), 100u - delivered());
  host_->reader().set_failure_percent(0);
  host_->shard().Flush();
  for (const queue::RecoveredMessage& message : Stored()) {
    host_->shard().Unhold(message.envelope.id);  // Those that could not be read.
  }
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 100u);
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ParkingTest, AReloadRoutesParkedMailToTheNewRelay) {
  Start();
  RelayDown(true);
  for (int i = 0; i < 50; ++i) Submit(To({"a@other.test"}));
  host_->RunFor(absl::Seconds(5));
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("other.test", {other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  settings_.relayhost.clear();
  Reload();
  EXPECT_EQ(Queued(), 50u);
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(delivered(), 50u);
  EXPECT_EQ(Queued(), 0u);
}

// The older job may deliver what the newer one is for: parked, that would be counted for good.
TEST_F(ParkingTest, AJobWhoseRecipientsAnOlderOneTriesIsNotParked) {
  settings_.jobs_max = 2;
  Start();
  script_ = [](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    return Act{Act::Kind::kUsual, "", false, absl::Seconds(30)};
  };
  const QueueId id = Submit(To({"a@other.test"}));
  host_->RunFor(absl::Seconds(1));
  settings_.relayhost.clear();
  Reload();
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(InMemory(), 2u);
  EXPECT_EQ(Operate(id, Operation::Kind::kHold), OperationResult::kAfterAttempt);
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(InMemory(), 2u);
  host_->RunFor(absl::Minutes(1));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

// One of its jobs is in memory, the other on a disk that cannot be read just now.
TEST_F(ParkingTest, AVerbThatCannotReadParkedMailDoesNothingAndSaysWhy) {
  settings_.relayhost.clear();
  settings_.jobs_max = 1;
  Start();
  RelayDown(true);
  for (const char* name : {"one.test", "two.test"}) {
    host_->resolver().Add(name, {sim::RelayAddress().ip});
  }
  Submit(To({"filler@two.test"}));
  const QueueId id = Submit(To({"a@one.test", "b@two.test"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(InMemory(), 2u);
  ASSERT_EQ(Queued(), 3u);
  host_->reader().set_failure_percent(100);
  for (const Operation::Kind kind : {Operation::Kind::kHold, Operation::Kind::kRemove}) {
    std::optional<OperationResult> result;
    absl::Status why;
    host_->shard().operations().Operate(
        id, {kind, ""}, [&result](OperationResult said) { result = said; },
        [&why](const absl::Status& status) { why = status; });
    host_->RunFor(absl::Seconds(1));
    EXPECT_EQ(result, OperationResult::kUnchanged);
    EXPECT_TRUE(absl::IsUnavailable(why)) << why;
    EXPECT_EQ(Queued(), 3u);
    EXPECT_EQ(host_->counts().held, 0u);
  }
  EXPECT_THAT(Stored(), SizeIs(2));
  host_->reader().set_failure_percent(0);
  EXPECT_EQ(Operate(id, Operation::Kind::kRemove), OperationResult::kDone);
  EXPECT_THAT(Stored(), SizeIs(1));
  EXPECT_EQ(Queued(), 1u);
}

TEST_F(ParkingTest, AFlushTriesParkedMailToo) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 60);
  for (int i = 0; i < 60; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(60));
  ASSERT_EQ(host_->counts().deferred, 60u);
  host_->shard().Flush();
  host_->RunFor(absl::Seconds(30));
  EXPECT_EQ(delivered(), 60u);
}

// What is parked becomes due while the one job that there is a place for is being tried:
// that it goes back to wait, and does not end, is what the other waits for.
TEST_F(ParkingTest, AJobThatIsDeferredAgainLeavesItsTurnToOneThatIsParked) {
  settings_.jobs_max = 2;
  settings_.retry.minimal_backoff = absl::Seconds(100);
  Start();
  int asked = 0;
  script_ = [&asked](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail) return std::nullopt;
    const absl::Duration delay = ++asked == 1 ? absl::Seconds(1) : absl::Seconds(200);
    return Act{Act::Kind::kReply, "451 4.3.0 later", false, delay};
  };
  const QueueId first = Submit(To({"a@example.com"}));
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(500));
  EXPECT_THAT(Logged(first.ToString() + ": to=<a@example.com>"), SizeIs(2));
}

// What a reload finds in the store and is to wait for its time is waited for.
TEST_F(ParkingTest, AReloadRoutesDeferredMailThatNothingElseWouldWakeFor) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 1);
  Submit(To({"a@other.test"}));
  host_->RunFor(absl::Seconds(60));
  host_->reader().set_failure_percent(100);
  host_->RunFor(absl::Minutes(10));
  EXPECT_THAT(Logged("cannot be read, message is held"), SizeIs(1));
  host_->reader().set_failure_percent(0);
  host_->clock().JumpWall(-absl::Hours(1));
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("other.test", {other.ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  settings_.relayhost.clear();
  Reload();
  host_->RunFor(absl::Seconds(30));
  EXPECT_EQ(delivered(), 0u);
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ParkingTest, ParkedMailKeepsTheRateOfItsDestination) {
  settings_.limits.rate_delay = absl::Seconds(1);
  Start();
  RelayDown(true);
  for (int i = 0; i < 40; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  RelayDown(false);
  host_->RunFor(absl::Minutes(2));
  EXPECT_EQ(delivered(), 40u);
}

// A second job would be charged to its tenant's share, and do nothing.
TEST_F(ParkingTest, AReloadGivesMailThatIsBeingReadNoSecondJob) {
  settings_.jobs_max = 1000;
  settings_.delivery_deferred = true;
  Start();
  std::vector<QueueId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(Submit(To({"a@example.com"})));
  host_->reader().set_delay_max(absl::Milliseconds(50));
  settings_.delivery_deferred = false;
  settings_.myhostname = "renamed.test";  // So that routes may have changed; they have not.
  Reload();
  size_t most = 0;
  const auto done = [&] {
    for (const QueueId id : ids) {
      size_t jobs = 0;
      host_->shard().scheduler().ForEachOf(id, [&jobs](queue::Job*) { ++jobs; });
      most = std::max(most, jobs);
    }
    return Queued() == 0;
  };
  EXPECT_TRUE(host_->RunUntil(done, absl::Minutes(5)));
  EXPECT_EQ(delivered(), 40u);
  EXPECT_EQ(most, 1u);
}

// Each sender hears of it once; the notices stand behind the same dead relay, and are young.
TEST_F(ParkingTest, SendersHearOfParkedMailThatExpired) {
  settings_.retry.lifetime = absl::Hours(1);
  settings_.bounces.delay_warning_time = absl::ZeroDuration();
  Start();
  RelayDown(true);
  for (int i = 0; i < 40; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(75));
  EXPECT_EQ(stats().expired.value(), 40u);
  EXPECT_THAT(Logged("sender non-delivery notification"), SizeIs(40));
  EXPECT_LE(InMemory(), 9u);
  RelayDown(false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 40u);
  for (const auto& delivery : book_.deliveries) {
    EXPECT_EQ(delivery.reverse_path, "");
    EXPECT_THAT(delivery.recipients, testing::ElementsAre("sender@app.test"));
    EXPECT_THAT(delivery.content, testing::HasSubstr("Status: 4.4.7"));
  }
  EXPECT_EQ(Queued(), 0u);
}

}  // namespace
}  // namespace mailrace::engine
