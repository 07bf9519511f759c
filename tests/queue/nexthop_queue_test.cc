#include "queue/nexthop_queue.h"

#include "gmock/gmock.h"
#include "scheduler_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NexthopQueueTest : public SchedulerFixture {
 protected:
  NexthopQueue* Relay() { return scheduler_->Nexthop("relay"); }
  Feedback Parsed(std::string_view text) { return *Feedback::Parse(text); }
  // As many jobs in flight as the window may need.
  void KeepBusy(uint64_t jobs) {
    for (uint64_t id = 1; id <= jobs; ++id) {
      AddReady(id, "relay");
      Take("relay");
    }
  }
};

// --- Window ------------------------------------------------------------------------

TEST_F(NexthopQueueTest, StartsWithTheInitialConcurrencyWithinTheLimit) {
  EXPECT_EQ(Relay()->window(), 5);
  Start({.initial_concurrency = 30, .concurrency_limit = 20});
  EXPECT_EQ(Relay()->window(), 20);
  Start({.initial_concurrency = 30, .concurrency_limit = 0});
  EXPECT_EQ(Relay()->window(), 30);
  Start({.initial_concurrency = 0});
  EXPECT_EQ(Relay()->window(), 1);
}

TEST_F(NexthopQueueTest, FeedbackOfOneOpensTheWindowByOneASuccessUpToTheLimit) {
  KeepBusy(40);
  for (int expected = 6; expected <= 20; ++expected) {
    Relay()->SessionSucceeded();
    EXPECT_EQ(Relay()->window(), expected);
  }
  Relay()->SessionSucceeded();
  EXPECT_EQ(Relay()->window(), 20);
}

TEST_F(NexthopQueueTest, FeedbackPerConcurrencyOpensItByOneARound) {
  Start({.positive_feedback = Parsed("1/concurrency")});
  KeepBusy(40);
  for (int window = 5; window < 12; ++window) {
    for (int success = 1; success < window; ++success) Relay()->SessionSucceeded();
    EXPECT_EQ(Relay()->window(), window) << "one too early";
    Relay()->SessionSucceeded();
    EXPECT_EQ(Relay()->window(), window + 1);
  }
}

TEST_F(NexthopQueueTest, WindowGoesNoFurtherThanInitialConcurrencyBeyondWhatIsInFlight) {
  for (int success = 0; success < 10; ++success) Relay()->SessionSucceeded();
  EXPECT_EQ(Relay()->window(), 5);
  KeepBusy(2);
  for (int success = 0; success < 10; ++success) Relay()->SessionSucceeded();
  EXPECT_EQ(Relay()->window(), 7);
}

TEST_F(NexthopQueueTest, FailuresCloseItByOneButNotBelowOne) {
  Start({.failed_cohort_limit = 0});
  KeepBusy(5);
  for (int expected : {4, 3, 2, 1, 1, 1}) {
    EXPECT_FALSE(Relay()->SessionFailed());
    EXPECT_EQ(Relay()->window(), expected);
  }
}

TEST_F(NexthopQueueTest, FeedbackOfZeroLeavesTheWindowAlone) {
  Start({.failed_cohort_limit = 0,
         .positive_feedback = Parsed("0"),
         .negative_feedback = Parsed("0")});
  KeepBusy(20);
  for (int outcome = 0; outcome < 50; ++outcome) {
    Relay()->SessionFailed();
    Relay()->SessionSucceeded();
  }
  EXPECT_EQ(Relay()->window(), 5);
}

TEST_F(NexthopQueueTest, LoweredLimitCountsAtOnce) {
  scheduler_->Nexthop("relay");
  scheduler_->set_limits({.concurrency_limit = 2});
  EXPECT_EQ(Relay()->window(), 2);
}

TEST_F(NexthopQueueTest, ShardsShareTheLimitToTheLastSession) {
  for (const int limit : {1, 2, 3, 7, 20, 21, 22, 23, 1000}) {
    for (const int shards : {1, 2, 3, 4, 8}) {
      if (limit < shards) continue;
      const DestinationLimits whole{.initial_concurrency = limit, .concurrency_limit = limit};
      int sessions = 0;
      int initial = 0;
      for (int shard = 0; shard < shards; ++shard) {
        sessions += whole.Share(shard, shards).concurrency_limit;
        initial += whole.Share(shard, shards).initial_concurrency;
      }
      EXPECT_EQ(sessions, limit) << shards << " shards";
      EXPECT_EQ(initial, limit) << shards << " shards";
    }
  }
}

TEST_F(NexthopQueueTest, ALimitAllowsNoMoreShardsThanSessions) {
  EXPECT_EQ(DestinationLimits{.concurrency_limit = 3}.ShardsMax(), 3);
  EXPECT_GT(DestinationLimits{.concurrency_limit = 0}.ShardsMax(), 1000);
  // Deliveries one after the other are one shard's.
  EXPECT_EQ(DestinationLimits{.rate_delay = absl::Seconds(1)}.ShardsMax(), 1);
  // A reload may bring such limits to running shards: each gets by, on average in time.
  const DestinationLimits few{.concurrency_limit = 1, .rate_delay = absl::Seconds(2)};
  EXPECT_EQ(few.Share(3, 4).concurrency_limit, 1);
  EXPECT_EQ(few.Share(3, 4).rate_delay, absl::Seconds(8));
  EXPECT_EQ(DestinationLimits{.concurrency_limit = 0}.Share(0, 4).concurrency_limit, 0);
}

// --- Dead destinations -------------------------------------------------------------

TEST_F(NexthopQueueTest, OneFailedCohortMakesItDead) {
  Start({.negative_feedback = Parsed("0")});
  for (int failure = 1; failure < 5; ++failure) EXPECT_FALSE(Relay()->SessionFailed());
  EXPECT_TRUE(Relay()->SessionFailed());
  EXPECT_EQ(Relay()->window(), 0);
  EXPECT_FALSE(Relay()->SessionFailed());  // Told already.
}

TEST_F(NexthopQueueTest, PostfixsDefaultsDeclareItDeadAtTheFourthFailure) {
  // 1/5 + 1/4 + 1/3 + 1/2 of a cohort, since the window shrinks with each.
  for (int failure = 1; failure < 4; ++failure) EXPECT_FALSE(Relay()->SessionFailed());
  EXPECT_TRUE(Relay()->SessionFailed());
}

TEST_F(NexthopQueueTest, FewMessagesAreTriedOnceEachBeforeItIsDead) {
  Start({});
  AddReady(1, "relay");
  ASSERT_EQ(TakeId("relay"), 1u);
  EXPECT_TRUE(Relay()->SetupFailed()) << "alone: no other mail has anything to find out";
}

TEST_F(NexthopQueueTest, ThreeMessagesAreACohortOfThree) {
  Start({});
  for (int id = 1; id <= 3; ++id) AddReady(id, "relay");
  ASSERT_EQ(TakeId("relay"), 1u);
  EXPECT_FALSE(Relay()->SetupFailed());
  EXPECT_FALSE(Relay()->SetupFailed());
  EXPECT_TRUE(Relay()->SetupFailed());
}

TEST_F(NexthopQueueTest, ABacklogMakesItDeadByTheWindow) {
  Start({.negative_feedback = Parsed("0")});
  for (int id = 1; id <= 50; ++id) AddReady(id, "relay");
  for (int failure = 1; failure < 5; ++failure) EXPECT_FALSE(Relay()->SetupFailed());
  EXPECT_TRUE(Relay()->SetupFailed());
}

TEST_F(NexthopQueueTest, ASuccessForgivesFailedCohorts) {
  Start({.negative_feedback = Parsed("0")});
  for (int round = 0; round < 10; ++round) {
    for (int failure = 0; failure < 4; ++failure) EXPECT_FALSE(Relay()->SessionFailed());
    Relay()->SessionSucceeded();
  }
}

TEST_F(NexthopQueueTest, MoreCohortsTakeMoreFailures) {
  Start({.failed_cohort_limit = 3, .negative_feedback = Parsed("0")});
  for (int failure = 1; failure < 15; ++failure) ASSERT_FALSE(Relay()->SessionFailed()) << failure;
  EXPECT_TRUE(Relay()->SessionFailed());
}

TEST_F(NexthopQueueTest, BackFromTheDeadItStartsAnew) {
  AddReady(1, "relay");
  Woken();
  while (!Relay()->SessionFailed()) {
  }
  Relay()->Suspend(In(absl::Seconds(300)), "connection refused");
  EXPECT_EQ(TakeId("relay"), 0u);
  EXPECT_EQ(scheduler_->NextWake(), In(absl::Seconds(300)));
  Pass(absl::Seconds(300));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Relay()->window(), 5);
  EXPECT_EQ(Relay()->suspend_reason(), "");
  EXPECT_EQ(TakeId("relay"), 1u);
}

TEST_F(NexthopQueueTest, DeliveryOfASessionStillOpenBringsItBackWithThatConcurrency) {
  KeepBusy(3);
  AddReady(9, "relay");
  Woken();
  while (!Relay()->SessionFailed()) {
  }
  Relay()->Suspend(In(absl::Seconds(300)), "connection refused");
  Relay()->SessionSucceeded();
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Relay()->window(), 3);
  EXPECT_EQ(TakeId("relay"), 9u);
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

// Whatever waits, a nexthop that comes back gets the initial concurrency as probes, and
// the window opens with what they deliver.
TEST_F(NexthopQueueTest, AfterAnOutageTheBacklogStartsSlowly) {
  for (uint64_t id = 1; id <= 5000; ++id) AddReady(id, "relay");
  while (!Relay()->SessionFailed()) {
  }
  Relay()->Suspend(In(absl::Hours(5)), "connection refused");
  Woken();
  Pass(absl::Hours(5));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Relay()->window(), 5);
  for (int delivered = 1; delivered <= 15; ++delivered) {
    while (static_cast<int>(Relay()->in_flight()) < Relay()->window()) Take("relay");
    EXPECT_EQ(Relay()->window(), 4 + delivered);
    Relay()->SessionSucceeded();
  }
  EXPECT_EQ(Relay()->window(), 20);
}

TEST_F(NexthopQueueTest, ProbesThatFailMakeItDeadAgain) {
  for (uint64_t id = 1; id <= 5000; ++id) AddReady(id, "relay");
  for (int outage = 1; outage <= 3; ++outage) {
    int failures = 1;
    while (!Relay()->SessionFailed()) ++failures;
    EXPECT_LE(failures, 5);
    Relay()->Suspend(In(absl::Seconds(300)), "connection refused");
    Pass(absl::Seconds(300));
  }
  EXPECT_EQ(scheduler_->counts().ready, 5000u);
}

TEST_F(NexthopQueueTest, ADeadDestinationCostsItsOwnMailOnly) {
  AddReady(1, "relay");
  AddReady(2, "other");
  while (!Relay()->SessionFailed()) {
  }
  Relay()->Suspend(In(absl::Hours(1)), "connection refused");
  EXPECT_EQ(TakeId("relay"), 0u);
  EXPECT_EQ(At("other")->window(), 5);
  EXPECT_EQ(TakeId("other"), 2u);
}

// --- Suspension --------------------------------------------------------------------

TEST_F(NexthopQueueTest, SuspendedJobsStayReadyAndComeInOrderAfterwards) {
  AddReady(1, "relay");
  Woken();
  Relay()->Suspend(In(absl::Seconds(10)), "greeting timed out");
  AddReady(2, "relay");
  EXPECT_TRUE(Relay()->suspended(Now()));
  EXPECT_EQ(Relay()->ready(), 2u);
  EXPECT_EQ(TakeId("relay"), 0u);
  EXPECT_THAT(Woken(), IsEmpty());
  Pass(absl::Seconds(10));
  EXPECT_FALSE(Relay()->suspended(Now()));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(TakeId("relay"), 1u);
  EXPECT_EQ(TakeId("relay"), 2u);
}

TEST_F(NexthopQueueTest, FirstReadyJobOfASuspendedNexthopWaitsForItsEnd) {
  Relay()->Suspend(In(absl::Seconds(10)), "test");
  AddDeferred(1, absl::Seconds(1), "relay");
  Pass(absl::Seconds(1));
  EXPECT_THAT(Woken(), IsEmpty());
  Pass(absl::Seconds(9));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
}

TEST_F(NexthopQueueTest, LastSuspensionCountsButTheOperatorsIsEndedByResumeAlone) {
  AddReady(1, "relay");
  Relay()->Suspend(In(absl::Hours(1)), "first");
  Relay()->Suspend(In(absl::Seconds(1)), "second");
  Woken();
  Pass(absl::Seconds(1));
  EXPECT_THAT(Woken(), ElementsAre("relay"));

  while (!Relay()->SessionFailed()) {
  }
  Relay()->Suspend(MonoTime::Infinite(), "operator");
  Relay()->Suspend(In(absl::Seconds(1)), "connection refused");
  Relay()->SessionSucceeded();
  Pass(absl::Hours(1000));
  EXPECT_THAT(Woken(), IsEmpty());
  EXPECT_EQ(Relay()->suspend_reason(), "operator");
  EXPECT_EQ(TakeId("relay"), 0u);
  Relay()->Resume();
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Relay()->window(), 5);
  EXPECT_EQ(TakeId("relay"), 1u);
}

TEST_F(NexthopQueueTest, ResumeWithoutWorkIsSilent) {
  Relay()->Suspend(In(absl::Seconds(1)), "test");
  Relay()->Resume();
  EXPECT_THAT(Woken(), IsEmpty());
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

TEST_F(NexthopQueueTest, TakeNoticesTheEndOfASuspensionByItself) {
  AddReady(1, "relay");
  Woken();
  Relay()->Suspend(In(absl::Seconds(1)), "test");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(TakeId("relay"), 1u);
  scheduler_->Advance(Now());
  EXPECT_THAT(Woken(), IsEmpty());
}

TEST_F(NexthopQueueTest, ReasonIsBounded) {
  Relay()->Suspend(In(absl::Seconds(1)), std::string(100'000, 'x'));
  EXPECT_EQ(Relay()->suspend_reason().size(), 1024u);
}

// --- Rate delay --------------------------------------------------------------------

class RateDelayTest : public NexthopQueueTest {
 protected:
  void SetUp() override { Start({.rate_delay = absl::Seconds(10)}); }
};

TEST_F(RateDelayTest, DeliveriesStartThatFarApart) {
  for (uint64_t id : {1, 2, 3}) AddReady(id, "relay");
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Relay()->window(), 1);
  scheduler_->Finish(Take("relay"));
  EXPECT_EQ(TakeId("relay"), 0u);
  EXPECT_EQ(scheduler_->NextWake(), In(absl::Seconds(10)));
  Pass(absl::Seconds(9));
  EXPECT_THAT(Woken(), IsEmpty());
  Pass(absl::Seconds(1));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(TakeId("relay"), 2u);
}

TEST_F(RateDelayTest, OneMessageAtATimeHoweverLongItTakes) {
  AddReady(1, "relay");
  AddReady(2, "relay");
  Job* const slow = Take("relay");
  Woken();
  EXPECT_EQ(TakeId("relay"), 0u);
  Pass(absl::Seconds(60));
  EXPECT_THAT(Woken(), IsEmpty());
  EXPECT_EQ(TakeId("relay"), 0u);
  scheduler_->Defer(slow, In(absl::Hours(1)));
  scheduler_->Advance(Now());
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(TakeId("relay"), 2u);
}

TEST_F(RateDelayTest, LateArrivalIsToldWhenTheDelayEnds) {
  AddReady(1, "relay");
  scheduler_->Finish(Take("relay"));
  Woken();
  Pass(absl::Seconds(4));
  AddReady(2, "relay");
  EXPECT_THAT(Woken(), IsEmpty());
  EXPECT_EQ(scheduler_->NextWake(), In(absl::Seconds(6)));
  Pass(absl::Seconds(6));
  EXPECT_THAT(Woken(), ElementsAre("relay"));
}

TEST_F(RateDelayTest, ReleasedJobGivesItsTurnBack) {
  AddReady(1, "relay");
  AddReady(2, "relay");
  Job* const job = Take("relay");
  Pass(absl::Seconds(1));
  Woken();
  scheduler_->Release(job, Now());
  scheduler_->Advance(Now());
  EXPECT_THAT(Woken(), ElementsAre("relay"));
  EXPECT_EQ(Take("relay"), job);
  EXPECT_EQ(TakeId("relay"), 0u);
}

TEST_F(RateDelayTest, NexthopsDoNotDelayEachOther) {
  AddReady(1, "relay");
  AddReady(2, "other");
  EXPECT_EQ(TakeId("relay"), 1u);
  EXPECT_EQ(TakeId("other"), 2u);
}

}  // namespace
}  // namespace mailrace::queue
