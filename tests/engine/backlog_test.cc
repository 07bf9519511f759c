// What is known of parked mail: nothing that is parked is ever out of every range.
#include "engine/backlog.h"

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

MonoTime At(absl::Duration since_start) { return MonoTime() + since_start; }

class BacklogTest : public testing::Test {
 protected:
  std::optional<BacklogWishes> Wishes() {
    return backlog_.Wishes([this](std::string_view nexthop) {
      const auto full = full_.find(std::string(nexthop));
      return full != full_.end() ? Backlog::Room{} : Backlog::Room{100, true};
    });
  }
  void Ready(uint64_t id, std::string_view nexthop = "a") {
    backlog_.Park(QueueId{id}, nexthop, ParkedAs::kReady, MonoTime());
  }
  void Deferred(uint64_t id, absl::Duration due, std::string_view nexthop = "a") {
    backlog_.Park(QueueId{id}, nexthop, ParkedAs::kDeferred, At(due));
  }

  Backlog backlog_;
  std::map<std::string, bool> full_;
};

TEST_F(BacklogTest, NothingParkedNothingWanted) {
  EXPECT_TRUE(backlog_.empty());
  EXPECT_FALSE(Wishes());
  EXPECT_TRUE(backlog_.NextDue().infinite());
}

TEST_F(BacklogTest, ReadyMailIsWantedFromTheOldestOn) {
  for (const uint64_t id : {50u, 7u, 900u}) Ready(id);
  const auto wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_EQ(wishes->from, QueueId{7});
  EXPECT_EQ(wishes->to, QueueId{900});
  EXPECT_EQ(backlog_.counts().ready, 3u);
}

TEST_F(BacklogTest, WhatWasLookedAtIsNotLookedAtAgain) {
  Ready(1);
  Ready(100);
  const auto wishes = Wishes();
  EXPECT_TRUE(backlog_.Scanned(*wishes, QueueId{40}));
  const auto next = Wishes();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->from, QueueId{40});
  EXPECT_TRUE(backlog_.Scanned(*next, std::nullopt));
  EXPECT_FALSE(Wishes());
}

TEST_F(BacklogTest, WhatFoundNoRoomIsWantedStill) {
  Ready(1);
  Ready(100);
  const auto wishes = Wishes();
  backlog_.Refused("a", QueueId{30});
  backlog_.Scanned(*wishes, std::nullopt);
  EXPECT_EQ(Wishes()->from, QueueId{30});
}

TEST_F(BacklogTest, MailParkedDuringAScanIsNotMissed) {
  Ready(10);
  Ready(100);
  const auto wishes = Wishes();
  Ready(20);  // Behind the scan already.
  backlog_.Scanned(*wishes, QueueId{90});
  EXPECT_EQ(Wishes()->from, QueueId{20});
}

TEST_F(BacklogTest, AFailedScanIsMadeAgain) {
  Ready(10);
  const auto wishes = Wishes();
  backlog_.ScanFailed();
  EXPECT_EQ(Wishes()->from, wishes->from);
}

TEST_F(BacklogTest, AFullNexthopDoesNotKeepOthersWaiting) {
  full_["dead"] = true;
  for (uint64_t id = 1; id <= 1000; ++id) Ready(id, "dead");
  Ready(500, "alive");
  const auto wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_EQ(wishes->from, QueueId{500});
  EXPECT_EQ(wishes->to, QueueId{500});
  EXPECT_FALSE(wishes->lines.contains("dead"));
}

TEST_F(BacklogTest, DeferredMailIsWantedAtMostAnIntervalAfterItIsDue) {
  Deferred(5, absl::Seconds(300));
  EXPECT_FALSE(Wishes());
  EXPECT_GE(backlog_.NextDue(), At(absl::Seconds(300)));
  EXPECT_LE(backlog_.NextDue(), At(absl::Seconds(300) + Backlog::kInterval));
  backlog_.Advance(At(absl::Seconds(200)));
  EXPECT_FALSE(Wishes());
  backlog_.Advance(backlog_.NextDue());
  ASSERT_TRUE(Wishes());
}

TEST_F(BacklogTest, IntervalsAreBoundedAndTheirMailIsNeverLate) {
  for (uint64_t id = 1; id <= 2000; ++id) Deferred(id, absl::Minutes(id));
  EXPECT_LE(backlog_.intervals(), Backlog::kIntervalsMax);
  backlog_.Advance(At(absl::Minutes(2000)));
  const auto wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_EQ(wishes->from, QueueId{1});
  EXPECT_EQ(wishes->to, QueueId{2000});
}

TEST_F(BacklogTest, HeldMailIsNotWantedUntilItIsReleased) {
  backlog_.Park(QueueId{5}, "a", ParkedAs::kHeld, MonoTime());
  EXPECT_FALSE(Wishes());
  backlog_.Look(QueueId{5}, "b");
  EXPECT_FALSE(Wishes());
  backlog_.Look(QueueId{5}, "a");
  EXPECT_TRUE(Wishes());
}

TEST_F(BacklogTest, AFlushWantsEverythingDueOrNot) {
  Ready(5);
  Deferred(6, absl::Hours(1));
  backlog_.Flush();
  const auto wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_TRUE(wishes->lines.at("a").all_due);
  EXPECT_EQ(wishes->from, QueueId{0});
  backlog_.Scanned(*wishes, std::nullopt);
  EXPECT_FALSE(Wishes());
}

TEST_F(BacklogTest, MailThatIsNotToBeTriedIsWantedByAFlushAlone) {
  backlog_.Park(QueueId{5}, "a", ParkedAs::kReady, MonoTime(), /*wanted=*/false);
  EXPECT_FALSE(Wishes());
  backlog_.Flush();
  EXPECT_TRUE(Wishes());
}

TEST_F(BacklogTest, BeyondTheKnownNexthopsOthersShareOneLine) {
  for (uint64_t i = 0; i < 3 * Backlog::kNexthopsMax; ++i) Ready(i + 1, fmt::format("n{}", i));
  EXPECT_EQ(backlog_.lines(), Backlog::kNexthopsMax);
  EXPECT_EQ(backlog_.counts().ready, 3 * Backlog::kNexthopsMax);
  auto wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_NE(wishes->Find("n0"), nullptr);
  EXPECT_NE(wishes->Find("n3000"), nullptr);
  EXPECT_NE(wishes->Find("never seen"), nullptr);
}

TEST_F(BacklogTest, InTheCommonLineAFullNexthopDoesNotKeepOthersWaiting) {
  for (uint64_t i = 0; i < Backlog::kNexthopsMax; ++i) Ready(1, fmt::format("n{}", i));
  for (uint64_t id = 10; id <= 100; ++id) Ready(id, id % 2 == 0 ? "dead" : "alive");
  auto wishes = Wishes();
  backlog_.Refused("dead", QueueId{10});
  backlog_.Scanned(*wishes, QueueId{50});
  wishes = Wishes();
  ASSERT_TRUE(wishes);
  EXPECT_EQ(wishes->others->from, QueueId{50});  // On with the others.
  backlog_.Scanned(*wishes, std::nullopt);
  EXPECT_EQ(Wishes()->others->from, QueueId{10});  // And then from the refused one again.
}

TEST_F(BacklogTest, CountsAreGivenBackWithTheMail) {
  Ready(1);
  Deferred(2, absl::Minutes(5));
  backlog_.Unpark("a", ParkedAs::kReady);
  backlog_.Unpark("a", ParkedAs::kDeferred);
  EXPECT_TRUE(backlog_.empty());
}

// One retry state for all jobs of a message: a job that was parked before another one was
// deferred is found as deferred.
TEST_F(BacklogTest, TheTotalIsRightThoughAJobIsFoundOtherwiseThanItWasParked) {
  Ready(1);
  backlog_.Unpark("a", ParkedAs::kDeferred);
  EXPECT_TRUE(backlog_.empty());
}

TEST_F(BacklogTest, ForgottenMailIsCountedUntilItIsFoundAgain) {
  for (uint64_t id = 1; id <= 10; ++id) Ready(id);
  backlog_.Forget();
  EXPECT_EQ(backlog_.counts().ready, 10u);
  for (uint64_t id = 1; id <= 4; ++id) {
    backlog_.Rediscovered(1);
    Ready(id, "b");
  }
  EXPECT_EQ(backlog_.counts().ready, 10u);
  backlog_.RediscoveryEnded();
  EXPECT_EQ(backlog_.counts().ready, 4u);
}

}  // namespace
}  // namespace mailrace::engine
