// The oracle must see what it is there for.
#include "tests/sim/world/ledger.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::sim {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() {
    Pass(absl::ZeroDuration());
    Ledger::Message message;
    message.reverse_path = "s.m1@app.test";
    message.recipients = {"r0.m1@d0.test", "r1.m1@d0.test"};
    message.content = "hello\r\n";
    message.arrival = now_;
    ledger_.Offered("m1", message);
  }
  void Pass(absl::Duration time) {
    now_ = now_ + time;
    wall_ += time;
    ledger_.SetNow(now_, wall_, true);
  }
  static queue::Envelope Mail() {
    queue::Envelope envelope;
    envelope.id = {256};
    envelope.reverse_path = "s.m1@app.test";
    envelope.recipients = {{"r0.m1@d0.test", "", 0}, {"r1.m1@d0.test", "", 0}};
    envelope.chunks = 1;
    return envelope;
  }
  void Commit(const queue::WriteSet& set) {
    const queue::WriteSet* const group[] = {&set};
    ASSERT_TRUE(store_.Commit(group).ok());
    ledger_.Committed(group, &store_);
  }
  // The message was accepted.
  void Accept() {
    queue::WriteSet set;
    set.PutChunk({256}, 0, std::make_shared<const std::string>("hello\r\n"));
    set.PutMessage(Mail());
    Commit(set);
    ledger_.Acknowledged("m1");
  }
  static FlightList Listed(const std::set<uint32_t>& recipients) {
    FlightList list;
    list.recipients[{256}] = recipients;
    list.bound = recipients.size();
    return list;
  }
  static queue::WriteSet Removal() {
    queue::WriteSet set;
    set.RemoveMessage({256}, 1, {}, false);
    return set;
  }
  static void AddNotice(queue::WriteSet* set, const std::string& about) {
    queue::Envelope envelope;
    envelope.id = {512};
    envelope.recipients = {{"s.m1@app.test", "", queue::kNotifyNever}};
    envelope.chunks = 1;
    set->PutChunk({512}, 0,
                  std::make_shared<const std::string>("Final-Recipient: rfc822; " + about +
                                                      "\r\nAction: failed\r\n\r\n"));
    set->PutMessage(envelope);
  }
  void Deliver(const std::vector<std::string>& to, std::string content = "hello\r\n") {
    for (const std::string& recipient : to) ++book_.delivered_to[recipient];
    book_.deliveries.push_back({"s.m1@app.test", to, std::move(content), now_});
  }

  MonoTime now_{1};
  absl::Time wall_ = absl::FromUnixSeconds(1'800'000'000);
  RelayBook book_;
  const queue::RetrySchedule schedule_{.lifetime = absl::Hours(1),
                                       .bounce_lifetime = absl::Hours(1)};
  queue::MemoryStore store_;
  Ledger ledger_{&book_, schedule_};
};

TEST_F(LedgerTest, WhatWasNotAcknowledgedIsOwedNothing) { EXPECT_THAT(ledger_.Audit(), IsEmpty()); }

TEST_F(LedgerTest, AcknowledgedAndNowhereIsLost) {
  ledger_.Acknowledged("m1");
  EXPECT_THAT(ledger_.Audit(),
              ElementsAre("LOST: r0.m1@d0.test is nowhere", "LOST: r1.m1@d0.test is nowhere"));
}

TEST_F(LedgerTest, InTheQueueOrDeliveredIsWell) {
  Accept();
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  Deliver({"r0.m1@d0.test", "r1.m1@d0.test"});
  Commit(Removal());
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  EXPECT_THAT(ledger_.AuditEmpty(), IsEmpty());
}

TEST_F(LedgerTest, LeavingTheDiskBeforeTheRelayHasItIsLost) {
  Accept();
  Deliver({"r0.m1@d0.test"});
  Commit(Removal());
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("LOST: r1.m1@d0.test left the disk")));
}

TEST_F(LedgerTest, AnOperatorMayRemoveWhatHeLikes) {
  Accept();
  ledger_.Removed({256});
  Commit(Removal());
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
}

TEST_F(LedgerTest, ARefusalNeedsItsNoticeInTheSameCommit) {
  Accept();
  book_.refused_recipients = {"r0.m1@d0.test"};
  queue::WriteSet set;
  set.PutDone({256}, 0, queue::Final::kFailed);
  AddNotice(&set, "r0.m1@d0.test");
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  book_.refused_recipients.insert("r1.m1@d0.test");
  set = queue::WriteSet();
  set.PutDone({256}, 1, queue::Final::kFailed);
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("LOST: r1.m1@d0.test left the disk")));
}

TEST_F(LedgerTest, ANoticeThatVanishesIsLost) {
  Accept();
  book_.refused_recipients = {"r0.m1@d0.test"};
  queue::WriteSet set;
  set.PutDone({256}, 0, queue::Final::kFailed);
  AddNotice(&set, "r0.m1@d0.test");
  Commit(set);
  set = queue::WriteSet();
  set.RemoveMessage({512}, 1, {}, false);
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), ElementsAre("LOST: s.m1@app.test its notice left the disk"));
}

TEST_F(LedgerTest, NobodyIsGivenUpBeforeHisTimeWithoutARefusal) {
  Accept();
  queue::WriteSet set;
  set.PutDone({256}, 0, queue::Final::kExpired);
  AddNotice(&set, "r0.m1@d0.test");
  Pass(absl::Minutes(59));
  // The wall clock is no excuse, whatever it says.
  ledger_.SetNow(now_, wall_ + absl::Hours(24 * 3652), true);
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), ElementsAre(HasSubstr("given up after 59m without a refusal")));
}

TEST_F(LedgerTest, ARepetitionMustBeExplained) {
  Accept();
  Deliver({"r0.m1@d0.test"});
  Deliver({"r0.m1@d0.test"});
  EXPECT_THAT(ledger_.Audit(), ElementsAre(HasSubstr("delivered 2 times, explained 1")));
}

TEST_F(LedgerTest, AnUncertainDeliveryExplainsARepetition) {
  Accept();
  ledger_.Log(Severity::kInfo, "smtp",
              "1: to=<r0.m1@d0.test>, status=deferred (message may be sent more than once)");
  Deliver({"r0.m1@d0.test"});
  Deliver({"r0.m1@d0.test"});
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
}

TEST_F(LedgerTest, ACrashExplainsARepetitionThatTheEngineKnewOf) {
  Accept();
  Deliver({"r0.m1@d0.test"});
  ledger_.Crashed(&store_, Listed({0}), absl::Minutes(10));
  Deliver({"r0.m1@d0.test"});
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  Deliver({"r1.m1@d0.test"});
  ledger_.Crashed(&store_, Listed({0}), absl::Minutes(10));
  EXPECT_THAT(ledger_.Audit(),
              Contains("r1.m1@d0.test may be delivered twice, the engine did not know"));
  ledger_.Crashed(&store_, {}, absl::Minutes(10));
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("may repeat")));
}

TEST_F(LedgerTest, ACrashExplainsARepetitionOnlySoonAfterTheDelivery) {
  Accept();
  Deliver({"r0.m1@d0.test"});
  Pass(absl::Minutes(11));
  ledger_.Crashed(&store_, Listed({0, 1}), absl::Minutes(10));
  EXPECT_THAT(ledger_.Audit(), ElementsAre(HasSubstr("was not durable after 11m")));
}

TEST_F(LedgerTest, ADiskThatForgetsIsSeen) {
  store_.set_sync_is_ignored(true);
  Accept();
  store_.Crash();
  ledger_.Crashed(&store_, {}, absl::Minutes(10));
  EXPECT_THAT(ledger_.Audit(), Contains("LOST: r0.m1@d0.test by the disk"));
}

TEST_F(LedgerTest, AFailedSyncMayHaveWrittenAllOrNothing) {
  Accept();
  Deliver({"r0.m1@d0.test", "r1.m1@d0.test"});
  const queue::WriteSet set = Removal();
  const queue::WriteSet* const group[] = {&set};
  store_.FailCommits(1, absl::DataLossError("I/O error"), true);
  ASSERT_FALSE(store_.Commit(group).ok());
  ledger_.Doubtful(group);
  store_.Crash();
  ledger_.Crashed(&store_, Listed({0, 1}), absl::Minutes(10));
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  EXPECT_TRUE(ledger_.disk().messages().empty());
}

TEST_F(LedgerTest, RecordsKeepTheirContract) {
  Accept();
  queue::WriteSet twice;
  twice.PutDone({256}, 0, queue::Final::kDelivered);
  Deliver({"r0.m1@d0.test", "r1.m1@d0.test"});
  Commit(twice);
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  Commit(twice);
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("its done record is written twice")));
  Commit(Removal());
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("removed, its done record stays")));
  queue::WriteSet late;
  late.PutRetry({256}, {});
  Commit(late);
  EXPECT_THAT(ledger_.Audit(), Contains(HasSubstr("a retry of nothing")));
}

TEST_F(LedgerTest, AttemptsAreThoseInTheLogAndKeepTheSchedule) {
  Accept();
  queue::RetryState retry;
  retry.attempts = 1;
  retry.next_attempt = wall_ + schedule_.minimal_backoff;
  queue::WriteSet set;
  set.PutRetry({256}, retry);
  ledger_.Log(Severity::kInfo, "smtp",
              QueueId{256}.ToString() + ": to=<r0.m1@d0.test>, status=deferred (451)");
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), IsEmpty());
  retry.attempts = 2;
  retry.next_attempt = wall_ + 2 * schedule_.maximal_backoff;
  set = queue::WriteSet();
  set.PutRetry({256}, retry);
  Commit(set);
  EXPECT_THAT(ledger_.Audit(), ElementsAre(HasSubstr("2 attempts after 1, 1 in the log"),
                                           HasSubstr("the next attempt comes after")));
}

TEST_F(LedgerTest, ChangedContentAndStrangersAreSeen) {
  Accept();
  Deliver({"r0.m1@d0.test"}, "hell\r\n");
  EXPECT_THAT(ledger_.Audit(), ElementsAre("content changed: m1"));
  Deliver({"r9.m1@d0.test"});
  Deliver({"r0.m2@d0.test"});
  EXPECT_THAT(ledger_.Audit(), Contains("delivered to a stranger: r9.m1@d0.test"));
  EXPECT_THAT(ledger_.Audit(), Contains("delivered, but nobody sent it: r0.m2@d0.test"));
}

}  // namespace
}  // namespace mailrace::sim
