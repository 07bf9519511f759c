// The oracle must see what it is there for.
#include "tests/sim/world/ledger.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    Ledger::Message message;
    message.reverse_path = "s.m1@app.test";
    message.recipients = {"r0.m1@d0.test"};
    message.content = "hello\r\n";
    message.arrival = now_;
    ledger_.Offered("m1", message);
  }
  void Deliver(std::string content = "hello\r\n") {
    book_.deliveries.push_back({"s.m1@app.test", {"r0.m1@d0.test"}, std::move(content), now_});
  }
  queue::RecoveredMessage Owed() const {
    queue::RecoveredMessage message;
    message.envelope.recipients.push_back({"r0.m1@d0.test", "", 0});
    return message;
  }
  std::vector<std::string> Audit(const std::vector<queue::RecoveredMessage>& queue = {}) const {
    return ledger_.Audit(queue, book_, now_, absl::Hours(1));
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  Ledger ledger_;
  RelayBook book_;
};

TEST_F(LedgerTest, WhatWasNotAcknowledgedIsOwedNothing) { EXPECT_THAT(Audit(), IsEmpty()); }

TEST_F(LedgerTest, AcknowledgedAndNowhereIsLost) {
  ledger_.Acknowledged("m1");
  EXPECT_THAT(Audit(), ElementsAre("LOST: r0.m1@d0.test"));
}

TEST_F(LedgerTest, InTheQueueOrDeliveredIsWell) {
  ledger_.Acknowledged("m1");
  EXPECT_THAT(Audit({Owed()}), IsEmpty());
  Deliver();
  EXPECT_THAT(Audit(), IsEmpty());
}

TEST_F(LedgerTest, ARefusalAloneIsNoExcuse) {
  ledger_.Acknowledged("m1");
  book_.refused_recipients = {"r0.m1@d0.test"};
  EXPECT_THAT(Audit(), ElementsAre("LOST: r0.m1@d0.test"));
}

TEST_F(LedgerTest, ANoticeThatArrivedIs) {
  ledger_.Acknowledged("m1");
  book_.deliveries.push_back(
      {"", {"s.m1@app.test"}, "Final-Recipient: rfc822; r0.m1@d0.test\r\n", now_});
  EXPECT_THAT(Audit(), IsEmpty());
}

TEST_F(LedgerTest, ARepetitionMustBeExplained) {
  ledger_.Acknowledged("m1");
  Deliver();
  Deliver();
  EXPECT_THAT(Audit(), ElementsAre(HasSubstr("delivered 2 times, explained 1")));
  ledger_.Log(Severity::kInfo, "smtp",
              "1: to=<r0.m1@d0.test>, status=deferred (message may be sent more than once)");
  EXPECT_THAT(Audit(), IsEmpty());
}

TEST_F(LedgerTest, ACrashExplainsARepetitionOnlySoonAfterTheDelivery) {
  Deliver();
  ledger_.Crashed({Owed()}, book_, now_ + absl::Seconds(1), absl::Minutes(10));
  EXPECT_THAT(Audit(), IsEmpty());
  ledger_.Crashed({Owed()}, book_, now_ + absl::Hours(1), absl::Minutes(10));
  EXPECT_THAT(Audit(), IsEmpty());  // That one was explained by the first crash.
  Deliver();
  Deliver();
  ledger_.Crashed({Owed()}, book_, now_ + absl::Hours(2), absl::Minutes(10));
  EXPECT_THAT(Audit(), ElementsAre(HasSubstr("was not durable after")));
}

TEST_F(LedgerTest, ChangedContentAndStrangersAreSeen) {
  ledger_.Acknowledged("m1");
  Deliver("hell\r\n");
  EXPECT_THAT(Audit(), ElementsAre("content changed: m1"));
  book_.deliveries[0] = {"s.m1@app.test", {"r0.m1@d0.test", "r9.m1@d0.test"}, "hello\r\n", now_};
  EXPECT_THAT(Audit(), ElementsAre("delivered to a stranger: r9.m1@d0.test"));
}

}  // namespace
}  // namespace mailrace::sim
