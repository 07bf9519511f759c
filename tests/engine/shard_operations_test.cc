// The operator's verbs on one shard: what they do to mail in each state, when they may be
// relied on, and what a crash or a full disk makes of them.
#include "engine/shard_operations.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ShardOperationsTest : public DeliveryFixture {
 protected:
  void RelayDown(bool down) { host_->network().SetRefused(sim::RelayAddress(), down); }
  OperationResult Do(Operation::Kind kind, QueueId id, std::string reason = "") {
    durable_ = std::make_shared<std::optional<absl::Status>>();
    return host_->shard().operations().Apply(
        id, {kind, std::move(reason)},
        [durable = durable_](absl::Status status) { *durable = std::move(status); });
  }
  bool IsDurable() const { return durable_->has_value() && (*durable_)->ok(); }

  // The relay takes everything but the final dot: silence until Answer.
  void StallAtTheDot() {
    script_ = [](Step step, std::string_view) -> std::optional<Act> {
      if (step != Step::kEndOfData) return std::nullopt;
      return Act{Act::Kind::kSilence, "", false};
    };
  }
  QueueId SubmitIntoDelivery(std::vector<std::string> to = {"a@example.com"}) {
    StallAtTheDot();
    const QueueId id = Submit(To(to));
    host_->RunFor(absl::Seconds(1));
    EXPECT_EQ(host_->counts().in_flight, 1u);
    return id;
  }
  QueueId SubmitDeferred(std::vector<std::string> to = {"a@example.com"}) {
    RelayDown(true);
    const QueueId id = Submit(To(to));
    host_->RunFor(absl::Seconds(5));
    return id;
  }
  std::string DeliveredContent() const {
    return book_.deliveries.empty() ? "" : book_.deliveries.back().content;
  }

  std::shared_ptr<std::optional<absl::Status>> durable_;
};

TEST_F(ShardOperationsTest, RemovalIsToldAndLoggedOnlyWhenItIsDurable) {
  Start();
  const QueueId id = SubmitDeferred();
  store_.FailCommits(3, absl::ResourceExhaustedError("No space left on device"));
  EXPECT_EQ(Do(Operation::Kind::kRemove, id), OperationResult::kDone);
  host_->RunFor(absl::Seconds(1));
  EXPECT_FALSE(IsDurable());
  EXPECT_THAT(Logged(id.ToString() + ": removed"), IsEmpty());
  EXPECT_THAT(Stored(), SizeIs(1));
  host_->RunFor(absl::Seconds(10));
  EXPECT_TRUE(IsDurable());
  EXPECT_THAT(Logged(id.ToString() + ": removed"), SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(stats().dsn_sent.value(), 0u);
}

TEST_F(ShardOperationsTest, AHoldThatWasToldSurvivesACrash) {
  Start();
  const QueueId id = SubmitDeferred();
  EXPECT_EQ(Do(Operation::Kind::kHold, id), OperationResult::kDone);
  host_->RunUntil([this] { return IsDurable(); }, absl::Seconds(5));
  ASSERT_TRUE(IsDurable());
  Crash();
  EXPECT_EQ(host_->counts().held, 1u);
  EXPECT_EQ(Do(Operation::Kind::kHold, id), OperationResult::kUnchanged);
  EXPECT_EQ(Do(Operation::Kind::kRelease, id), OperationResult::kDone);
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ShardOperationsTest, AnUnknownMessageIsNotHere) {
  Start();
  for (const auto kind :
       {Operation::Kind::kHold, Operation::Kind::kRelease, Operation::Kind::kFlush,
        Operation::Kind::kRemove, Operation::Kind::kBounce}) {
    EXPECT_EQ(Do(kind, QueueId{4711}), OperationResult::kNotHere);
    EXPECT_TRUE(IsDurable());
  }
}

TEST_F(ShardOperationsTest, MailInDeliveryIsHeldWhenItsAttemptIsDeferred) {
  Start();
  const QueueId id = SubmitIntoDelivery();
  EXPECT_EQ(Do(Operation::Kind::kHold, id), OperationResult::kAfterAttempt);
  host_->RunFor(absl::Hours(1));  // The final dot's reply is given up.
  EXPECT_EQ(host_->counts().held, 1u);
  Restart();
  EXPECT_EQ(host_->counts().held, 1u);
  script_ = nullptr;
  EXPECT_TRUE(host_->shard().Unhold(id));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardOperationsTest, MailInDeliveryIsRemovedWhenItsAttemptIsDeferred) {
  Start();
  const QueueId id = SubmitIntoDelivery();
  EXPECT_EQ(Do(Operation::Kind::kRemove, id), OperationResult::kAfterAttempt);
  EXPECT_THAT(Stored(), SizeIs(1));
  host_->RunFor(absl::Hours(1));
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
  EXPECT_THAT(Logged(id.ToString() + ": removed"), SizeIs(1));
}

// What one attempt leaves in doubt is on the disk before another one ends: the list of possible
// duplicates neither keeps it for good nor loses it in a crash.
TEST_F(ShardOperationsTest, AnUncertainAttemptOfMailThatIsBeingRemovedLeavesTheListOfFlights) {
  settings_.relayhost.clear();
  Start();
  host_->resolver().Add("one.test", {sim::RelayAddress().ip});
  host_->resolver().Add("two.test", {sim::RelayAddress().ip});
  int dots = 0;
  script_ = [&dots](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    if (++dots == 1) return Act{Act::Kind::kDrop, "", false, absl::Seconds(2)};
    return Act{Act::Kind::kReply, "451 4.3.0 later", false, absl::Minutes(1)};
  };
  const QueueId id = Submit(To({"a@one.test", "b@two.test"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(dots, 2);
  ASSERT_EQ(host_->flights().bound, 2u);
  EXPECT_EQ(Do(Operation::Kind::kRemove, id), OperationResult::kAfterAttempt);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(host_->flights().bound, 1u);
  ASSERT_THAT(Stored(), SizeIs(1));
  EXPECT_EQ(Stored()[0].retry.attempts, 1u);
  host_->RunFor(absl::Minutes(2));
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(host_->flights().bound, 0u);
}

// No attempt is made, so none can be waited for: the destination may be dead for days.
TEST_F(ShardOperationsTest, MailThatIsOnlyBeingReadIsRemovedOnceItIsRead) {
  Start();
  const QueueId id = SubmitDeferred();
  Restart();  // So that nothing of it is in memory.
  for (int turn = 0; turn < 1000 && host_->counts().in_flight == 0; ++turn) {
    host_->RunFor(absl::Nanoseconds(1));
  }
  ASSERT_EQ(host_->counts().in_flight, 1u);
  ASSERT_TRUE(host_->shard().operations().Suspend("[relay.test]:25", "maintenance"));
  ASSERT_EQ(Do(Operation::Kind::kRemove, id), OperationResult::kAfterAttempt);
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Stored(), IsEmpty());
}

// Its other jobs went at once: nobody would try what a later wish kept.
TEST_F(ShardOperationsTest, NothingTakesBackARemovalThatWaitsForAnAttempt) {
  Start();
  const QueueId id = SubmitIntoDelivery();
  EXPECT_EQ(Do(Operation::Kind::kRemove, id), OperationResult::kAfterAttempt);
  EXPECT_EQ(Do(Operation::Kind::kHold, id), OperationResult::kUnchanged);
  EXPECT_EQ(Do(Operation::Kind::kRelease, id), OperationResult::kUnchanged);
  EXPECT_EQ(Do(Operation::Kind::kBounce, id), OperationResult::kUnchanged);
  host_->RunFor(absl::Hours(1));  // The final dot's reply is given up.
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ShardOperationsTest, AnAttemptThatDeliversMakesEveryWishMoot) {
  Start();
  for (const auto kind :
       {Operation::Kind::kHold, Operation::Kind::kRemove, Operation::Kind::kBounce}) {
    std::optional<OperationResult> result;
    script_ = [&](Step step, std::string_view) -> std::optional<Act> {
      if (step == Step::kEndOfData && !result) {
        host_->shard().scheduler().ForEach(
            [&](const queue::Job& job) { result = Do(kind, job.id); });
      }
      return std::nullopt;
    };
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(5));
    EXPECT_EQ(result, OperationResult::kAfterAttempt);
    EXPECT_EQ(host_->shard().context().wishes->size(), 0u);
  }
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com", "a@example.com", "a@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardOperationsTest, AReleaseTakesBackAHoldThatWaitsForItsAttempt) {
  Start();
  const QueueId id = SubmitIntoDelivery();
  Do(Operation::Kind::kHold, id);
  EXPECT_EQ(Do(Operation::Kind::kRelease, id), OperationResult::kDone);
  script_ = nullptr;
  host_->RunFor(absl::Hours(2));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
  EXPECT_EQ(host_->counts().held, 0u);
}

TEST_F(ShardOperationsTest, ABounceTellsTheSenderOnceAboutAllWhoAreStillOwed) {
  settings_.relayhost.clear();
  Start();
  host_->resolver().Add("one.test", {sim::RelayAddress().ip});
  host_->resolver().Add("two.test", {sim::RelayAddress().ip});
  host_->resolver().Add("app.test", {sim::RelayAddress().ip});
  const QueueId id = SubmitDeferred({"a@one.test", "b@two.test"});
  EXPECT_EQ(Do(Operation::Kind::kBounce, id, "wrong list"), OperationResult::kDone);
  RelayDown(false);
  host_->RunFor(absl::Minutes(20));
  EXPECT_TRUE(IsDurable());
  EXPECT_EQ(stats().dsn_sent.value(), 1u);
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_THAT(DeliveredContent(), HasSubstr("a@one.test"));
  EXPECT_THAT(DeliveredContent(), HasSubstr("b@two.test"));
  EXPECT_THAT(DeliveredContent(), HasSubstr("5.7.0"));
  EXPECT_THAT(DeliveredContent(), HasSubstr("wrong list"));
  EXPECT_THAT(Logged(id.ToString() + ": from=<sender@app.test>, status=force-expired"), SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(ShardOperationsTest, ABounceOfHeldMailReadsItBackFirst) {
  Start();
  const QueueId id = SubmitDeferred();
  Do(Operation::Kind::kHold, id);
  host_->RunFor(absl::Seconds(1));
  Restart();
  EXPECT_EQ(Do(Operation::Kind::kBounce, id), OperationResult::kDone);
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardOperationsTest, ABounceThatCannotBeReadIsHeldAndSaid) {
  Start();
  const QueueId id = SubmitDeferred();
  Do(Operation::Kind::kHold, id);
  host_->RunFor(absl::Seconds(1));
  Restart();
  host_->reader().set_failure_percent(100);
  Do(Operation::Kind::kBounce, id);
  host_->RunFor(absl::Seconds(5));
  ASSERT_TRUE(durable_->has_value());
  EXPECT_FALSE((*durable_)->ok());
  EXPECT_EQ(host_->counts().held, 1u);
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(ShardOperationsTest, MailInDeliveryIsBouncedWhenItsAttemptIsDeferred) {
  Start();
  const QueueId id = SubmitIntoDelivery();
  EXPECT_EQ(Do(Operation::Kind::kBounce, id), OperationResult::kAfterAttempt);
  host_->RunFor(absl::Minutes(1));
  script_ = nullptr;
  host_->RunFor(absl::Hours(1));
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardOperationsTest, ACrashBetweenBounceAndNoticeLeavesBothOrNeither) {
  Start();
  const QueueId id = SubmitDeferred();
  Do(Operation::Kind::kBounce, id);
  Crash();
  host_->RunFor(absl::Minutes(20));
  const auto to = DeliveredTo();
  ASSERT_THAT(to, SizeIs(1));
  EXPECT_TRUE(to[0] == "a@example.com" || to[0] == "sender@app.test") << to[0];
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(ShardOperationsTest, AFlushOfOneMessageTriesItsDeadDestinationNow) {
  Start();
  const QueueId id = SubmitDeferred();
  RelayDown(false);
  EXPECT_EQ(Do(Operation::Kind::kFlush, id), OperationResult::kDone);
  host_->RunFor(absl::Seconds(2));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
}

TEST_F(ShardOperationsTest, ASuspendedDestinationGetsNothingUntilItIsResumed) {
  Start();
  ShardOperations& operations = host_->shard().operations();
  EXPECT_TRUE(operations.Suspend("[relay.test]:25", "maintenance"));
  EXPECT_FALSE(operations.Suspend("[relay.test]:25", "again"));
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_EQ(host_->network().connects(), 0u);
  const std::vector<JobFacts> facts = operations.Look(id);
  ASSERT_THAT(facts, SizeIs(1));
  EXPECT_EQ(facts[0].state, JobFacts::State::kDeferred);
  EXPECT_TRUE(facts[0].suspended_by_operator);
  EXPECT_EQ(facts[0].waits_for, "maintenance");
  EXPECT_EQ(facts[0].due_in, absl::InfiniteDuration());
  EXPECT_EQ(Do(Operation::Kind::kFlush, id), OperationResult::kSuspended);
  host_->shard().Flush();
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_TRUE(operations.Resume("[relay.test]:25"));
  EXPECT_FALSE(operations.Resume("[relay.test]:25"));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ShardOperationsTest, EveryDeferralIsInTheHistoryWithItsRelayReplyAndTime) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 3);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  host_->RunFor(absl::Hours(1));
  ASSERT_THAT(Stored(), IsEmpty());  // Delivered at last.
  Answer(Step::kMail, "452 4.2.2 full");
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(10));
  const auto stored = Stored();
  ASSERT_THAT(stored, SizeIs(1));
  EXPECT_EQ(stored[0].envelope.id, id);
  const queue::RetryState& retry = stored[0].retry;
  EXPECT_GE(retry.attempts, 3u);
  ASSERT_EQ(retry.history.size(), std::min<size_t>(retry.attempts, queue::kAttemptsKept));
  EXPECT_THAT(retry.history[0].relay, HasSubstr("relay.test[192.0.2."));
  EXPECT_THAT(retry.history[0].text, HasSubstr("452 4.2.2 full"));
  EXPECT_EQ(retry.history[0].status, (EnhancedStatus{4, 2, 2}));
  for (size_t i = 1; i < retry.history.size(); ++i) {
    EXPECT_GT(retry.history[i].at, retry.history[i - 1].at);
  }
}

}  // namespace
}  // namespace mailrace::engine
