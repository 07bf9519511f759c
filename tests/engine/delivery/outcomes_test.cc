// What becomes of recipients: verdicts, retries, expiry, notices; and that the disk always
// tells the same.
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class Outcomes : public DeliveryFixture {};

TEST_F(Outcomes, EachRecipientHasItsOwnVerdict) {
  Start();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step != Step::kRcpt) return std::nullopt;
    if (argument.find("<bad@") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "550 5.1.1 no such user", false};
    }
    if (argument.find("<later@") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "450 4.2.1 greylisted", false};
    }
    return std::nullopt;
  };
  Submit(To({"good@example.com", "bad@example.com", "later@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAre("good@example.com", "sender@app.test"));
  EXPECT_THAT(Logged("status=sent (250 2.0.0 queued)"), SizeIs(2));
  EXPECT_THAT(Logged("to=<bad@example.com>"),
              ElementsAre(AllOf(HasSubstr("dsn=5.1.1, status=bounced"),
                                HasSubstr("said: 550 5.1.1 no such user (in reply to RCPT TO "
                                          "command)"))));
  EXPECT_THAT(Logged("to=<later@example.com>"),
              ElementsAre(HasSubstr("dsn=4.2.1, status=deferred")));
  const std::vector<queue::RecoveredMessage> stored = Stored();
  ASSERT_THAT(stored, SizeIs(1));
  EXPECT_THAT(stored[0].done_indices, UnorderedElementsAre(0, 1));
  EXPECT_EQ(stored[0].retry.attempts, 1u);
  EXPECT_THAT(stored[0].retry.last_reason, HasSubstr("450 4.2.1 greylisted"));
}

TEST_F(Outcomes, ADeferredRecipientAloneIsTriedAgain) {
  Start();
  Answer(Step::kRcpt, "450 4.2.1 greylisted", 1);
  Submit(To({"first@example.com", "second@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("second@example.com"));
  host_->RunFor(absl::Seconds(299));
  EXPECT_THAT(DeliveredTo(), ElementsAre("second@example.com", "first@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, RecipientsBeyondTheServersLimitFollowAtOnce) {
  Start();
  int named = 0;
  script_ = [&named](Step step, std::string_view) -> std::optional<Act> {
    if (step == Step::kMail) named = 0;
    if (step != Step::kRcpt || ++named <= 3) return std::nullopt;
    return Act{Act::Kind::kReply, "452 4.5.3 too many recipients", false};
  };
  Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com",
             "f@example.com", "g@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAre("a@example.com", "b@example.com", "c@example.com",
                                                  "d@example.com", "e@example.com", "f@example.com",
                                                  "g@example.com"));
  EXPECT_EQ(delivered(), 3u);
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
  EXPECT_THAT(Logged("takes 3 recipients of a message: 452 4.5.3 too many recipients; for 1h"),
              SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, NobodyWaitsForADeferredRecipientOnceTheLimitIsKnown) {
  settings_.limits.initial_concurrency = 1;
  settings_.limits.concurrency_limit = 1;
  Start();
  int named = 0;
  script_ = [&named](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kMail) named = 0;
    if (step != Step::kRcpt) return std::nullopt;
    if (argument.find("<later@") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "450 4.2.1 greylisted", false};
    }
    if (++named <= 3) return std::nullopt;
    return Act{Act::Kind::kReply, "452 4.5.3 too many recipients", false};
  };
  Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(DeliveredTo().size(), 4u);
  std::vector<std::string> many = {"later@example.com"};
  for (int i = 0; i < 20; ++i) many.push_back("u" + std::to_string(i) + "@example.com");
  Submit(To(many));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(DeliveredTo().size(), 24u);
}

TEST_F(Outcomes, AServerThatHangsUpOverTooManyRecipientsIsAskedForLessNextTime) {
  Start();
  int named = 0;
  script_ = [&named](Step step, std::string_view) -> std::optional<Act> {
    if (step == Step::kMail) named = 0;
    if (step != Step::kRcpt || ++named <= 2) return std::nullopt;
    if (named == 3) return Act{Act::Kind::kReply, "452 4.5.3 too many recipients", false};
    return Act{Act::Kind::kReplyAndHang, "421 4.7.0 too many errors", false};
  };
  Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 0u);
  host_->RunFor(absl::Seconds(400));
  EXPECT_EQ(delivered(), 3u);
  EXPECT_THAT(DeliveredTo(), SizeIs(5));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, WhatWasDoneIsNotRepeatedAfterACrash) {
  Start();
  Answer(Step::kRcpt, "450 4.2.1 greylisted", 1);
  Submit(To({"first@example.com", "second@example.com"}));
  host_->RunFor(absl::Seconds(5));
  Crash();
  host_->RunFor(absl::Seconds(400));
  EXPECT_THAT(DeliveredTo(), ElementsAre("second@example.com", "first@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, ADeferralKeepsItsTimeOverARestart) {
  Start();
  Answer(Step::kMail, "451 4.3.0 later", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(100));
  Restart();
  host_->RunFor(absl::Seconds(190));
  EXPECT_EQ(delivered(), 0u);
  host_->RunFor(absl::Seconds(20));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(Outcomes, RetriesFollowTheAgeOfTheMessage) {
  Start();
  std::vector<absl::Time> tries;
  script_ = [this, &tries](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail) return std::nullopt;
    tries.push_back(host_->clock().Wall());
    return Act{Act::Kind::kReply, "451 4.3.0 later", false};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(3));
  // 0, then 300 s (the minimum), then the age doubles up to the maximum.
  std::vector<int64_t> gaps;
  for (size_t i = 1; i < tries.size(); ++i) {
    gaps.push_back(absl::ToInt64Seconds(tries[i] - tries[i - 1]));
  }
  EXPECT_THAT(gaps, ElementsAre(300, 300, 600, 1200, 2400, 4000));
}

TEST_F(Outcomes, MailThatIsTooOldIsReturnedAfterALastTry) {
  settings_.retry.lifetime = absl::Hours(1);
  Start();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step != Step::kMail || argument.find("<>") != std::string_view::npos) return std::nullopt;
    return Act{Act::Kind::kReply, "451 4.3.0 later", false};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  ASSERT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_EQ(book_.deliveries[0].reverse_path, "");
  EXPECT_THAT(book_.deliveries[0].content,
              AllOf(HasSubstr("Final-Recipient: rfc822; a@example.com"),
                    HasSubstr("Action: failed"), HasSubstr("451 4.3.0 later")));
  EXPECT_THAT(Logged("status=expired, returned to sender"), SizeIs(1));
  EXPECT_EQ(stats().expired.value(), 1u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, FailureAndNoticeAreOneCommit) {
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no", 1);
  bool together = false;
  host_->committer().OnCommitted([&together](std::span<const queue::WriteSet* const> group) {
    for (const queue::WriteSet* set : group) {
      bool removes = false;
      bool adds = false;
      for (const auto& operation : set->operations()) {
        if (operation.family != queue::Family::kMessage) continue;
        (operation.kind == queue::WriteSet::Operation::Kind::kPut ? adds : removes) = true;
      }
      together = together || (removes && adds);
    }
  });
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_TRUE(together);
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_EQ(stats().dsn_sent.value(), 1u);
}

TEST_F(Outcomes, MoreFailuresThanOneNoticeReportsMakeAnother) {
  Start();
  Answer(Step::kMail, "550 5.7.1 no", 1);
  settings_.limits.recipient_limit = 5000;
  Reload();
  std::vector<std::string> recipients;
  for (int i = 0; i < 1001; ++i) recipients.push_back("r" + std::to_string(i) + "@example.com");
  Submit(To(recipients));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().failed.value(), 1001u);
  ASSERT_EQ(delivered(), 2u);
  EXPECT_THAT(book_.deliveries[0].content, HasSubstr("rfc822; r999@example.com"));
  EXPECT_THAT(book_.deliveries[1].content, HasSubstr("rfc822; r1000@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, NobodyIsToldOfAFailureFromTheNullReversePath) {
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no");
  Submit(To({"a@example.com"}, ""));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().dsn_sent.value(), 0u);
  EXPECT_EQ(stats().failed.value(), 1u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, NotifyNeverIsRespectedForEachRecipient) {
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no", 2);
  queue::Envelope envelope = To({"silent@example.com", "loud@example.com"});
  envelope.recipients[0].notify = queue::kNotifyNever;
  Submit(envelope);
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_THAT(book_.deliveries[0].content,
              AllOf(HasSubstr("loud@example.com"),
                    testing::Not(HasSubstr("Final-Recipient: rfc822; silent@example.com"))));
}

TEST_F(Outcomes, AnUnansweredEndOfDataIsUncertainAndTriedAgain) {
  Start();
  bool dropped = false;
  script_ = [&dropped](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData || std::exchange(dropped, true)) return std::nullopt;
    return Act{Act::Kind::kDrop, "", true};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(400));
  EXPECT_EQ(delivered(), 2u);
  EXPECT_EQ(stats().uncertain.value(), 1u);
  EXPECT_THAT(Logged("message may be sent more than once"), SizeIs(1));
}

TEST_F(Outcomes, AnEndOfDataThatWeOurselvesCutOffIsUncertainToo) {
  Start();
  script_ = [](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    return Act{Act::Kind::kSilence, "", true};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(delivered(), 1u);
  host_->shard().Drain();
  host_->shard().Cancel();
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(stats().uncertain.value(), 1u);
  EXPECT_THAT(Logged("message may be sent more than once"), SizeIs(1));
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(Outcomes, ReplyOfServiceNotAvailableToTheContentIsNoUncertainty) {
  Start();
  Answer(Step::kEndOfData, "421 4.3.2 going down", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(400));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_EQ(stats().uncertain.value(), 0u);
  EXPECT_EQ(stats().deferred.value(), 1u);
}

TEST_F(Outcomes, SoftBounceKeepsWhatTheServerRefuses) {
  settings_.soft_bounce = true;
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(Logged("to=<a@example.com>"), ElementsAre(HasSubstr("dsn=4.1.1, status=deferred")));
  host_->RunFor(absl::Seconds(300));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
}

TEST_F(Outcomes, ManyRecipientsGoInTransactionsOfTheLimit) {
  settings_.limits.recipient_limit = 2;
  Start();
  Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 3u);
  EXPECT_THAT(book_.deliveries[2].recipients, ElementsAre("e@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, RecipientsOfSeveralDomainsGoToSeveralServers) {
  settings_.relayhost.clear();
  Start();
  const SocketAddress other{*IpAddress::Parse("192.0.2.9"), 25};
  host_->resolver().Add("one.test", {sim::RelayAddress().ip});
  host_->resolver().Add("two.test", {other.ip});
  host_->resolver().Add("app.test", {sim::RelayAddress().ip});
  ASSERT_TRUE(host_->relay().Listen(other).ok());
  Submit(To({"a@one.test", "b@TWO.test", "c@nowhere.test"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAre("a@one.test", "b@TWO.test", "sender@app.test"));
  EXPECT_THAT(Logged("to=<c@nowhere.test>"),
              ElementsAre(AllOf(HasSubstr("relay=none"), HasSubstr("dsn=5.4.4, status=bounced"))));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Outcomes, ANullMxRefusesAtOnce) {
  settings_.relayhost.clear();
  Start();
  host_->resolver().AddMx("null.test", {{0, ""}});
  host_->resolver().Add("app.test", {sim::RelayAddress().ip});
  Submit(To({"a@null.test"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(Logged("to=<a@null.test>"), ElementsAre(HasSubstr("dsn=5.1.10, status=bounced")));
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
}

TEST_F(Outcomes, AnUnknownRelayhostIsOurOwnMistakeAndDefers) {
  settings_.relayhost = "[gone.test]:25";
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().failed.value(), 0u);
  EXPECT_THAT(Stored(), SizeIs(1));
  EXPECT_THAT(Logged("to=<a@example.com>"), Contains(HasSubstr("status=deferred")));
}

}  // namespace
}  // namespace mailrace::engine
