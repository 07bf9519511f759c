#include "engine/bounces/sender_quota.h"

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

using Verdict = SenderQuota::Verdict;

MonoTime At(absl::Duration since) { return MonoTime{1} + since; }

TEST(SenderQuotaTest, GrantsUpToTheLimitAndSaysOnceThatItIsReached) {
  SenderQuota quota;
  EXPECT_EQ(quota.Take("a@example.com", 2, At(absl::Seconds(0))), Verdict::kGranted);
  EXPECT_EQ(quota.Take("A@Example.com", 2, At(absl::Seconds(1))), Verdict::kGranted);
  EXPECT_EQ(quota.Take("a@example.com", 2, At(absl::Seconds(2))), Verdict::kFirstRefused);
  EXPECT_EQ(quota.Take("a@example.com", 2, At(absl::Minutes(59))), Verdict::kRefused);
}

TEST(SenderQuotaTest, SendersDoNotShare) {
  SenderQuota quota;
  EXPECT_EQ(quota.Take("a@example.com", 1, At(absl::Seconds(0))), Verdict::kGranted);
  EXPECT_EQ(quota.Take("b@example.com", 1, At(absl::Seconds(0))), Verdict::kGranted);
}

TEST(SenderQuotaTest, AnHourAfterTheFirstAnotherHourBegins) {
  SenderQuota quota;
  EXPECT_EQ(quota.Take("a@example.com", 1, At(absl::Seconds(0))), Verdict::kGranted);
  EXPECT_EQ(quota.Take("a@example.com", 1, At(absl::Minutes(59))), Verdict::kFirstRefused);
  EXPECT_EQ(quota.Take("a@example.com", 1, At(absl::Minutes(60))), Verdict::kGranted);
  EXPECT_EQ(quota.Take("a@example.com", 1, At(absl::Minutes(61))), Verdict::kFirstRefused);
}

TEST(SenderQuotaTest, NoLimitIsNone) {
  SenderQuota quota;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(quota.Take("a@example.com", 0, At(absl::Seconds(0))), Verdict::kGranted);
  }
}

TEST(SenderQuotaTest, AFullTableTellsNobodyElseUntilTheHourIsOver) {
  SenderQuota quota;
  for (size_t i = 0; i < SenderQuota::kSendersMax; ++i) {
    quota.Take(fmt::format("s{}@example.com", i), 1, At(absl::Seconds(0)));
  }
  EXPECT_EQ(quota.Take("late@example.com", 1, At(absl::Minutes(30))), Verdict::kRefused);
  EXPECT_EQ(quota.Take("late@example.com", 1, At(absl::Minutes(61))), Verdict::kGranted);
}

}  // namespace
}  // namespace mailrace::engine
