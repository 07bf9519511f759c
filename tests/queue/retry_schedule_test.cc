#include "queue/retry_schedule.h"

#include <vector>

#include "gtest/gtest.h"

namespace mailrace::queue {
namespace {

const absl::Time kArrival = absl::FromUnixSeconds(1'800'000'000);

absl::Duration Wait(absl::Duration age) {
  return RetrySchedule().NextAttempt(kArrival, kArrival + age) - (kArrival + age);
}

TEST(RetryScheduleTest, WaitsAsLongAsTheMessageIsOldBetweenTheBounds) {
  EXPECT_EQ(Wait(absl::ZeroDuration()), absl::Seconds(300));
  EXPECT_EQ(Wait(absl::Seconds(299)), absl::Seconds(300));
  EXPECT_EQ(Wait(absl::Seconds(300)), absl::Seconds(300));
  EXPECT_EQ(Wait(absl::Seconds(301)), absl::Seconds(301));
  EXPECT_EQ(Wait(absl::Seconds(3999)), absl::Seconds(3999));
  EXPECT_EQ(Wait(absl::Seconds(4000)), absl::Seconds(4000));
  EXPECT_EQ(Wait(absl::Hours(100)), absl::Seconds(4000));
}

TEST(RetryScheduleTest, FirstDayOfRetriesIsPostfixs) {
  // Each attempt fails at once: 300, 600 (age 300 doubles), ..., then every 4000 s.
  RetrySchedule schedule;
  absl::Time now = kArrival;
  std::vector<int64_t> ages;
  for (int attempt = 0; attempt < 7; ++attempt) {
    now = schedule.NextAttempt(kArrival, now);
    ages.push_back(absl::ToInt64Seconds(now - kArrival));
  }
  EXPECT_EQ(ages, (std::vector<int64_t>{300, 600, 1200, 2400, 4800, 8800, 12800}));
}

TEST(RetryScheduleTest, ClockThatWentBackCountsAsAgeZero) {
  EXPECT_EQ(Wait(-absl::Hours(24 * 3650)), absl::Seconds(300));
}

TEST(RetryScheduleTest, MaximumWinsOverALargerMinimum) {
  RetrySchedule schedule;
  schedule.minimal_backoff = absl::Seconds(5000);
  EXPECT_EQ(schedule.NextAttempt(kArrival, kArrival), kArrival + absl::Seconds(4000));
}

TEST(RetryScheduleTest, RecordedAttemptSurvivesClockJumpsWithinBounds) {
  const RetrySchedule schedule;
  const absl::Time recorded = kArrival + absl::Seconds(300);
  EXPECT_EQ(schedule.Bounded(recorded, kArrival), recorded);
  // The clock went on ten years: due now, not in the past.
  const absl::Time later = kArrival + absl::Hours(24 * 3650);
  EXPECT_EQ(schedule.Bounded(recorded, later), later);
  // The clock went back ten years: not stranded.
  const absl::Time earlier = kArrival - absl::Hours(24 * 3650);
  EXPECT_EQ(schedule.Bounded(recorded, earlier), earlier + absl::Seconds(4000));
}

TEST(RetryScheduleTest, ExpiresWhenTheLifetimeIsReached) {
  const RetrySchedule schedule;
  const absl::Duration day = absl::Hours(24);
  EXPECT_FALSE(schedule.Expired(kArrival, kArrival + 5 * day - absl::Seconds(1), false));
  EXPECT_TRUE(schedule.Expired(kArrival, kArrival + 5 * day, false));
  EXPECT_FALSE(schedule.Expired(kArrival, kArrival - 5 * day, false));
  EXPECT_EQ(schedule.Expiry(kArrival, false), kArrival + 5 * day);
}

TEST(RetryScheduleTest, BouncesHaveALifetimeOfTheirOwn) {
  RetrySchedule schedule;
  schedule.bounce_lifetime = absl::Hours(1);
  EXPECT_TRUE(schedule.Expired(kArrival, kArrival + absl::Hours(1), true));
  EXPECT_FALSE(schedule.Expired(kArrival, kArrival + absl::Hours(1), false));
  EXPECT_EQ(schedule.Expiry(kArrival, true), kArrival + absl::Hours(1));
}

TEST(RetryScheduleTest, LifetimeOfZeroAllowsOneAttempt) {
  RetrySchedule schedule;
  schedule.lifetime = absl::ZeroDuration();
  EXPECT_TRUE(schedule.Expired(kArrival, kArrival, false));
  EXPECT_TRUE(schedule.Expired(kArrival, kArrival - absl::Hours(1), false));
}

}  // namespace
}  // namespace mailrace::queue
