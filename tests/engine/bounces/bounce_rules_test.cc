#include "engine/bounces/bounce_rules.h"

#include "gtest/gtest.h"
#include "queue/message.h"

namespace mailrace::engine {
namespace {

using queue::kNotifyDelay;
using queue::kNotifyFailure;
using queue::kNotifyNever;
using queue::kNotifySuccess;

constexpr DsnAction kActions[] = {DsnAction::kFailed, DsnAction::kDelayed, DsnAction::kRelayed,
                                  DsnAction::kDelivered, DsnAction::kExpanded};

BouncePolicy Warning() {
  BouncePolicy policy;
  policy.delay_warning_time = absl::Hours(4);
  return policy;
}

bool Wants(DsnAction action, int notify, bool upstream_offers_dsn = false,
           const BouncePolicy& policy = Warning()) {
  return WantsDsn({.action = action,
                   .reverse_path = "alice@example.com",
                   .notify = static_cast<uint8_t>(notify),
                   .upstream_offers_dsn = upstream_offers_dsn},
                  policy);
}

TEST(BounceRulesTest, NullReversePathIsNeverAnswered) {
  for (const DsnAction action : kActions) {
    for (int notify = 0; notify < 16; ++notify) {
      EXPECT_FALSE(
          WantsDsn({.action = action, .reverse_path = "", .notify = static_cast<uint8_t>(notify)},
                   Warning()));
    }
  }
}

TEST(BounceRulesTest, DoubleBounceSenderIsNeverAnswered) {
  const BouncePolicy policy;
  EXPECT_FALSE(MayNotify("double-bounce@mail.example.com", policy));
  EXPECT_FALSE(MayNotify("Double-Bounce@example.com", policy));
  EXPECT_FALSE(MayNotify("double-bounce", policy));
  EXPECT_TRUE(MayNotify("double-bounces@example.com", policy));
  EXPECT_FALSE(WantsDsn({.reverse_path = "double-bounce@example.com"}, policy));
}

TEST(BounceRulesTest, QualifiedDoubleBounceSenderIsThatAddressAlone) {
  BouncePolicy policy;
  policy.double_bounce_sender = "db@mail.example.com";
  EXPECT_FALSE(MayNotify("DB@mail.example.com", policy));
  EXPECT_TRUE(MayNotify("db@example.org", policy));
  policy.double_bounce_sender = "";
  EXPECT_TRUE(MayNotify("db@mail.example.com", policy));
  EXPECT_FALSE(MayNotify("", policy));
}

TEST(BounceRulesTest, NotifyNeverMeansNever) {
  for (const DsnAction action : kActions) {
    EXPECT_FALSE(Wants(action, kNotifyNever));
    EXPECT_FALSE(Wants(action, kNotifyNever | kNotifySuccess | kNotifyFailure | kNotifyDelay));
  }
}

TEST(BounceRulesTest, FailureIsToldByDefaultAndWhenAskedFor) {
  EXPECT_TRUE(Wants(DsnAction::kFailed, 0));
  EXPECT_TRUE(Wants(DsnAction::kFailed, kNotifyFailure));
  EXPECT_TRUE(Wants(DsnAction::kFailed, kNotifyFailure | kNotifySuccess));
  EXPECT_FALSE(Wants(DsnAction::kFailed, kNotifySuccess));
  EXPECT_FALSE(Wants(DsnAction::kFailed, kNotifyDelay));
}

TEST(BounceRulesTest, RelayedIsToldWhenAskedForAndTheServerDoesNoDsn) {
  EXPECT_TRUE(Wants(DsnAction::kRelayed, kNotifySuccess));
  EXPECT_FALSE(Wants(DsnAction::kRelayed, kNotifySuccess, /*upstream_offers_dsn=*/true));
  EXPECT_FALSE(Wants(DsnAction::kRelayed, 0));
  EXPECT_FALSE(Wants(DsnAction::kRelayed, kNotifyFailure | kNotifyDelay));
}

TEST(BounceRulesTest, DeliveredAndExpandedAreToldWhenAskedFor) {
  for (const DsnAction action : {DsnAction::kDelivered, DsnAction::kExpanded}) {
    EXPECT_TRUE(Wants(action, kNotifySuccess));
    EXPECT_FALSE(Wants(action, 0));
  }
}

TEST(BounceRulesTest, SuccessNoticesCanBeSwitchedOff) {
  BouncePolicy policy = Warning();
  policy.success_notices = false;
  for (const DsnAction action :
       {DsnAction::kRelayed, DsnAction::kDelivered, DsnAction::kExpanded}) {
    EXPECT_FALSE(Wants(action, kNotifySuccess, false, policy));
  }
  EXPECT_TRUE(Wants(DsnAction::kFailed, kNotifySuccess | kNotifyFailure, false, policy));
}

TEST(BounceRulesTest, DelayIsToldOnlyWhereConfiguredToThoseWhoDidNotDecline) {
  EXPECT_TRUE(Wants(DsnAction::kDelayed, 0));
  EXPECT_TRUE(Wants(DsnAction::kDelayed, kNotifyDelay));
  EXPECT_FALSE(Wants(DsnAction::kDelayed, kNotifyFailure));
  EXPECT_FALSE(Wants(DsnAction::kDelayed, kNotifySuccess));
  EXPECT_FALSE(Wants(DsnAction::kDelayed, kNotifyDelay, false, BouncePolicy()));
}

TEST(BounceRulesTest, OneDelayNoticeAMessageAfterTheWarningTime) {
  const absl::Time arrival = absl::FromUnixSeconds(1'800'000'000);
  const absl::Time due = arrival + absl::Hours(4);
  EXPECT_FALSE(DelayNoticeDue(arrival, due - absl::Seconds(1), false, Warning()));
  EXPECT_TRUE(DelayNoticeDue(arrival, due, false, Warning()));
  EXPECT_FALSE(DelayNoticeDue(arrival, due, true, Warning()));
  EXPECT_FALSE(DelayNoticeDue(arrival, arrival - absl::Hours(100), false, Warning()));
  EXPECT_FALSE(DelayNoticeDue(arrival, due + absl::Hours(100), false, BouncePolicy()));
}

}  // namespace
}  // namespace mailrace::engine
