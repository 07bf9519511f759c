// Who is told what, as a whole shard does it: RFC 3461 4.1 and 5.2 as a table, and what the
// table does not say.
#include <ostream>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using queue::kNotifyDelay;
using queue::kNotifyFailure;
using queue::kNotifyNever;
using queue::kNotifySuccess;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// The relay takes notices, and of other mail says what the test wants.
class Notices : public DeliveryFixture {
 protected:
  void WithoutDsn() {
    host_->relay().set_keywords({"PIPELINING", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES"});
  }
  // RCPT is answered so, but where notices go; "": as usual.
  void AnswerMail(const std::string& text) {
    script_ = [this, text](Step step, std::string_view argument) -> std::optional<Act> {
      if (step == Step::kMail) mails_.emplace_back(argument);
      if (step != Step::kRcpt) return std::nullopt;
      rcpts_.emplace_back(argument);
      if (text.empty() || argument.find("@app.test>") != std::string_view::npos) {
        return std::nullopt;
      }
      return Act{Act::Kind::kReply, text, false};
    };
  }
  std::vector<std::string> NoticesTo(std::string_view sender) const {
    std::vector<std::string> notices;
    for (const sim::RelayBook::Delivery& delivery : book_.deliveries) {
      if (delivery.reverse_path.empty() && delivery.recipients[0] == sender) {
        notices.push_back(delivery.content);
      }
    }
    return notices;
  }
  std::vector<std::string> NoticesToSender() const { return NoticesTo("sender@app.test"); }
  static std::string ActionOf(const std::string& notice) {
    const size_t at = notice.find("\r\nAction: ");
    return notice.substr(at + 10, notice.find("\r\n", at + 10) - at - 10);
  }

  std::vector<std::string> mails_;
  std::vector<std::string> rcpts_;
};

// --- The table ---------------------------------------------------------------------------

enum class Outcome { kDelivered, kRefused, kDeferred, kExpired };

struct Cell {
  std::string notify;  // The parameter's value; empty: none.
  Outcome outcome;
  bool relay_dsn;
  std::vector<std::string> told;  // The actions of the notices that come of it.
};

void PrintTo(const Cell& cell, std::ostream* out) {
  *out << "NOTIFY=" << cell.notify << ", outcome " << static_cast<int>(cell.outcome)
       << (cell.relay_dsn ? ", relay does DSN" : ", relay without DSN");
}

uint8_t Bits(std::string_view notify) {
  uint8_t bits = 0;
  if (notify.find("NEVER") != std::string_view::npos) bits |= kNotifyNever;
  if (notify.find("SUCCESS") != std::string_view::npos) bits |= kNotifySuccess;
  if (notify.find("FAILURE") != std::string_view::npos) bits |= kNotifyFailure;
  if (notify.find("DELAY") != std::string_view::npos) bits |= kNotifyDelay;
  return bits;
}

std::string Name(const testing::TestParamInfo<Cell>& info) {
  static constexpr const char* kOutcomes[] = {"Delivered", "Refused", "Deferred", "Expired"};
  std::string notify;
  for (const char c : info.param.notify.empty() ? std::string("None") : info.param.notify) {
    if (c != ',') notify += c;
  }
  return fmt::format("{}_{}_{}", notify, kOutcomes[static_cast<int>(info.param.outcome)],
                     info.param.relay_dsn ? "RelayDoesDsn" : "RelayWithoutDsn");
}

// Written out, so that nobody's code decides what is expected.
std::vector<Cell> Table() {
  struct Row {
    const char* notify;
    std::vector<std::string> delivered, relayed, refused, deferred, expired;
  };
  const std::vector<Row> rows = {
      // NOTIFY, delivered to a relay with DSN | without | refused | deferred for long | expired
      {"", {}, {}, {"failed"}, {"delayed"}, {"delayed", "failed"}},
      {"NEVER", {}, {}, {}, {}, {}},
      {"SUCCESS", {}, {"relayed"}, {}, {}, {}},
      {"FAILURE", {}, {}, {"failed"}, {}, {"failed"}},
      {"DELAY", {}, {}, {}, {"delayed"}, {"delayed"}},
      {"SUCCESS,FAILURE", {}, {"relayed"}, {"failed"}, {}, {"failed"}},
      {"SUCCESS,DELAY", {}, {"relayed"}, {}, {"delayed"}, {"delayed"}},
      {"FAILURE,DELAY", {}, {}, {"failed"}, {"delayed"}, {"delayed", "failed"}},
      {"SUCCESS,FAILURE,DELAY", {}, {"relayed"}, {"failed"}, {"delayed"}, {"delayed", "failed"}},
  };
  std::vector<Cell> cells;
  for (const Row& row : rows) {
    for (const bool dsn : {true, false}) {
      cells.push_back({row.notify, Outcome::kDelivered, dsn, dsn ? row.delivered : row.relayed});
      cells.push_back({row.notify, Outcome::kRefused, dsn, row.refused});
      cells.push_back({row.notify, Outcome::kDeferred, dsn, row.deferred});
      cells.push_back({row.notify, Outcome::kExpired, dsn, row.expired});
    }
  }
  return cells;
}

class NoticeTable : public Notices, public testing::WithParamInterface<Cell> {};

TEST_P(NoticeTable, Says) {
  const Cell& cell = GetParam();
  settings_.bounces.delay_warning_time = absl::Hours(1);
  settings_.retry.lifetime = absl::Hours(cell.outcome == Outcome::kExpired ? 3 : 100);
  Start();
  if (!cell.relay_dsn) WithoutDsn();
  AnswerMail(cell.outcome == Outcome::kDelivered ? ""
             : cell.outcome == Outcome::kRefused ? "550 5.1.1 no such user"
                                                 : "451 4.3.0 later");
  queue::Envelope envelope = To({"a@example.com"});
  envelope.recipients[0].notify = Bits(cell.notify);
  envelope.recipients[0].orcpt = "rfc822;Orig+inal@example.com";
  envelope.envid = "order 7";
  envelope.ret = queue::Ret::kHeaders;
  Submit(envelope);
  host_->RunFor(absl::Hours(9));

  std::vector<std::string> told;
  for (const std::string& notice : NoticesToSender()) {
    told.push_back(ActionOf(notice));
    EXPECT_THAT(notice, HasSubstr("Final-Recipient: rfc822; a@example.com\r\n"));
    EXPECT_THAT(notice, HasSubstr("Original-Recipient: rfc822;Orig+inal@example.com\r\n"));
    EXPECT_THAT(notice, HasSubstr("Original-Envelope-Id: order 7\r\n"));
  }
  EXPECT_EQ(told, cell.told);
  // What was asked for goes on to a server that does DSN, unchanged; to no other.
  ASSERT_THAT(rcpts_, testing::Not(IsEmpty()));
  if (cell.relay_dsn) {
    EXPECT_THAT(mails_[0], AllOf(HasSubstr(" RET=HDRS"), HasSubstr(" ENVID=order+207")));
    EXPECT_EQ(rcpts_[0], "<a@example.com>" + (cell.notify.empty() ? "" : " NOTIFY=" + cell.notify) +
                             " ORCPT=rfc822;Orig+2Binal@example.com");
  } else {
    EXPECT_THAT(mails_[0], AllOf(Not(HasSubstr("RET=")), Not(HasSubstr("ENVID="))));
    EXPECT_EQ(rcpts_[0], "<a@example.com>");
  }
  EXPECT_THAT(Stored(), SizeIs(cell.outcome == Outcome::kDeferred ? 1 : 0));
}

INSTANTIATE_TEST_SUITE_P(Rfc3461, NoticeTable, testing::ValuesIn(Table()), Name);

// --- Success -----------------------------------------------------------------------------

TEST_F(Notices, RelayedIsOneNoticeOfAllWhoAskedInTheBatchThatRecordsThem) {
  settings_.limits.recipient_limit = 2;
  Start();
  WithoutDsn();
  int batches_with_notice = 0;
  int batches_with_outcome = 0;
  host_->committer().OnCommitted([&](std::span<const queue::WriteSet* const> group) {
    for (const queue::WriteSet* set : group) {
      bool removes = false;
      bool adds = false;
      for (const auto& operation : set->operations()) {
        if (operation.family != queue::Family::kMessage) continue;
        (operation.kind == queue::WriteSet::Operation::Kind::kPut ? adds : removes) = true;
      }
      batches_with_notice += removes && adds;
      batches_with_outcome += removes;
    }
  });
  queue::Envelope envelope = To({"a@example.com", "b@example.com", "c@example.com"});
  envelope.recipients[0].notify = kNotifySuccess;
  envelope.recipients[2].notify = kNotifySuccess | kNotifyFailure;
  Submit(envelope);
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(batches_with_notice, 1);
  EXPECT_EQ(batches_with_outcome, 2);  // The message's and its notice's.
  ASSERT_THAT(NoticesToSender(), SizeIs(1));
  EXPECT_THAT(
      NoticesToSender()[0],
      AllOf(HasSubstr("rfc822; a@example.com\r\nAction: relayed\r\nStatus: 2.0.0\r\n"
                      "Remote-MTA: dns; relay.test\r\nDiagnostic-Code: smtp; 250 2.0.0 queued\r\n"),
            Not(HasSubstr("rfc822; b@example.com")), HasSubstr("rfc822; c@example.com"),
            HasSubstr("Content-Type: text/rfc822-headers")));
  EXPECT_THAT(Logged("sender delivery status notification"), SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Notices, SuccessCanBeLeftUnanswered) {
  settings_.bounces.success_notices = false;
  Start();
  WithoutDsn();
  queue::Envelope envelope = To({"a@example.com"});
  envelope.recipients[0].notify = kNotifySuccess;
  Submit(envelope);
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Notices, ARelayThatIsNotBelievedToDoDsnIsAnsweredFor) {
  settings_.discard_ehlo_keywords = {"DSN"};
  Start();
  AnswerMail("");
  queue::Envelope envelope = To({"a@example.com"});
  envelope.recipients[0].notify = kNotifySuccess;
  Submit(envelope);
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(rcpts_[0], "<a@example.com>");
  EXPECT_THAT(NoticesToSender(), SizeIs(1));
}

TEST_F(Notices, AnInternationalOriginalRecipientIsPassedOnAsItCame) {
  Start();
  AnswerMail("");
  queue::Envelope envelope = To({"a@example.com"});
  envelope.smtputf8 = true;
  envelope.recipients[0].orcpt = "utf-8;us\xc3\xa9r\\x{2B}x@example.com";
  Submit(envelope);
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(rcpts_[0], "<a@example.com> ORCPT=utf-8;us\xc3\xa9r\\x{2B}x@example.com");
}

// --- Failure -----------------------------------------------------------------------------

TEST_F(Notices, ExpiryIsToldAndRecordedAsSuch) {
  settings_.retry.lifetime = absl::Hours(1);
  Start();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kRcpt && argument.find("<late@") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "451 4.7.1 greylisted", false};
    }
    return std::nullopt;
  };
  std::vector<queue::Final> finals;
  host_->committer().OnCommitted([&](std::span<const queue::WriteSet* const> group) {
    for (const queue::WriteSet* set : group) {
      for (const auto& operation : set->operations()) {
        if (operation.family != queue::Family::kDone ||
            operation.kind != queue::WriteSet::Operation::Kind::kPut) {
          continue;
        }
        finals.push_back(*queue::DecodeFinal(operation.value));
      }
    }
  });
  settings_.relayhost.clear();
  Reload();
  host_->resolver().Add("one.test", {sim::RelayAddress().ip});
  host_->resolver().Add("app.test", {sim::RelayAddress().ip});
  // The other domain keeps the message in the queue.
  host_->resolver().set_failure_percent(0);
  Submit(To({"late@one.test", "ok@one.test", "late@app.test"}));
  host_->RunFor(absl::Hours(3));
  EXPECT_THAT(finals, Contains(queue::Final::kExpired));
  EXPECT_THAT(finals, Contains(queue::Final::kDelivered));
  EXPECT_THAT(finals, Not(Contains(queue::Final::kFailed)));
  // Each domain's recipient has a notice of its own, in no order.
  EXPECT_THAT(
      NoticesToSender(),
      Contains(AllOf(
          HasSubstr("rfc822; late@one.test\r\nAction: failed\r\nStatus: 4.4.7\r\n"
                    "Remote-MTA: dns; one.test\r\nDiagnostic-Code: smtp; 451 4.7.1 greylisted\r\n"),
          HasSubstr("<late@one.test>: delivery time expired: host one.test["))));
}

TEST_F(Notices, NobodyIsToldThatANoticeFailedButItIsLogged) {
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no");
  const QueueId id = Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().dsn_sent.value(), 1u);
  EXPECT_THAT(Logged(id.ToString() + ": sender non-delivery notification"), SizeIs(1));
  EXPECT_THAT(Logged("undeliverable mail with a null sender discarded"), SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Notices, PostmasterIsToldOnceOfANoticeThatFailed) {
  settings_.bounces.postmaster_double_bounces = true;
  Start();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step != Step::kRcpt || argument.find("postmaster") != std::string_view::npos) {
      return std::nullopt;
    }
    return Act{Act::Kind::kReply, "550 5.1.1 no", false};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_EQ(book_.deliveries[0].reverse_path, "double-bounce@mailrace.test");
  EXPECT_THAT(book_.deliveries[0].recipients, ElementsAre("postmaster@mailrace.test"));
  EXPECT_THAT(book_.deliveries[0].content,
              AllOf(HasSubstr("Subject: Postmaster Copy: Undelivered Bounce"),
                    HasSubstr("Final-Recipient: rfc822; sender@app.test"),
                    HasSubstr("Final-Recipient: rfc822; a@example.com")));  // Within the original.
  EXPECT_THAT(Logged("postmaster non-delivery notification"), SizeIs(1));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Notices, APostmasterNoticeThatFailsEndsThere) {
  settings_.bounces.postmaster_double_bounces = true;
  settings_.bounces.postmaster_bounces = true;
  Start();
  Answer(Step::kRcpt, "550 5.1.1 no");
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 0u);
  // To the sender, the copy, and of the sender's failure.
  EXPECT_EQ(stats().dsn_sent.value(), 3u);
  EXPECT_THAT(Logged("undeliverable postmaster notification discarded"), SizeIs(2));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(Notices, PostmasterMayHaveCopiesOfWhatSendersAreTold) {
  settings_.bounces.postmaster_bounces = true;
  settings_.bounces.bounce_notice_recipient = "bounces@ops.test";
  Start();
  AnswerMail("");
  Answer(Step::kRcpt, "550 5.1.1 no", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 2u);
  EXPECT_THAT(DeliveredTo(), testing::UnorderedElementsAre("sender@app.test", "bounces@ops.test"));
}

TEST_F(Notices, MailThatARelayCannotTakeComesBackThroughIt) {
  // No 8BITMIME, no SMTPUTF8: the notice must not need what the mail needed.
  Start();
  host_->relay().set_keywords({"PIPELINING", "SIZE"});
  queue::Envelope envelope = To({"a@example.com"});
  envelope.eight_bit = true;
  Submit(envelope, "Subject: x\r\n\r\ncaf\xc3\xa9\r\n");
  envelope = To({"us\xc3\xa9r@example.com"});
  envelope.smtputf8 = true;
  envelope.eight_bit = true;
  Submit(envelope, "Subject: caf\xc3\xa9\r\n\r\nx\r\n");
  host_->RunFor(absl::Seconds(5));
  const std::vector<std::string> notices = NoticesToSender();
  ASSERT_THAT(notices, SizeIs(2));
  EXPECT_THAT(notices, Contains(HasSubstr("Status: 5.6.3")));
  EXPECT_THAT(notices, Contains(AllOf(HasSubstr("Status: 5.6.7"),
                                      HasSubstr("utf-8; us\\x{E9}r@example.com"))));
  EXPECT_THAT(Stored(), IsEmpty());
}

// --- Delay -------------------------------------------------------------------------------

class Delays : public Notices {
 protected:
  Delays() { settings_.bounces.delay_warning_time = absl::Hours(1); }
};

TEST_F(Delays, ASenderIsToldOnceThatMailIsLate) {
  Start();
  AnswerMail("451 4.3.0 later");
  Submit(To({"a@example.com", "b@example.com"}));
  host_->RunFor(absl::Minutes(59));
  EXPECT_THAT(NoticesToSender(), IsEmpty());
  host_->RunFor(absl::Hours(50));
  ASSERT_THAT(NoticesToSender(), SizeIs(1));
  EXPECT_THAT(
      NoticesToSender()[0],
      AllOf(HasSubstr("Subject: Delayed Mail (still being retried)"),
            HasSubstr("Your message could not be delivered for more than 1 hour."),
            // Told between two attempts: the last one's reason is a quotation.
            HasSubstr("rfc822; a@example.com\r\nAction: delayed\r\nStatus: 4.4.0\r\n"
                      "Diagnostic-Code: X-Mailrace; host relay.test[192.0.2.1] said: 451 4.3.0 "
                      "later\r\n"),
            HasSubstr("rfc822; b@example.com"),
            HasSubstr("Will-Retry-Until: Wed, 20 Jan 2027 08:00:00 +0000 (UTC)")));
  EXPECT_THAT(Logged("sender delay notification"), SizeIs(1));
}

TEST_F(Delays, NotAgainAfterARestart) {
  Start();
  AnswerMail("451 4.3.0 later");
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(3));
  Crash();
  host_->RunFor(absl::Hours(10));
  EXPECT_THAT(NoticesToSender(), SizeIs(1));
  ASSERT_THAT(Stored(), SizeIs(1));
  EXPECT_TRUE(Stored()[0].retry.delay_warning_sent);
}

TEST_F(Delays, NobodyIsToldThatANoticeIsLate) {
  Start();
  Answer(Step::kRcpt, "451 4.3.0 later");
  Submit(To({"a@example.com"}, ""));
  host_->RunFor(absl::Hours(10));
  EXPECT_EQ(stats().dsn_sent.value(), 0u);
}

TEST_F(Delays, OneSenderIsNotToldMoreOftenThanTheLimitSays) {
  settings_.bounces.delay_notices_per_sender = 3;
  Start();
  AnswerMail("451 4.3.0 later");
  for (int i = 0; i < 10; ++i) Submit(To({"a@example.com"}));
  Submit(To({"a@example.com"}, "other@app.test"));
  host_->RunFor(absl::Hours(30));
  EXPECT_THAT(NoticesToSender(), SizeIs(3));
  EXPECT_THAT(NoticesTo("other@app.test"), SizeIs(1));
  EXPECT_EQ(stats().delay_notices_left_out.value(), 7u);
  EXPECT_THAT(Logged("had 3 delay notifications within an hour"), SizeIs(1));
}

TEST_F(Delays, MailThatIsHeldUpByASessionThatCannotBeMadeIsLateToo) {
  settings_.bounces.delay_warning_time = absl::Minutes(30);
  Start();
  host_->network().SetRefused(sim::RelayAddress(), true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(2));
  EXPECT_THAT(Logged("sender delay notification"), SizeIs(1));
  host_->network().SetRefused(sim::RelayAddress(), false);
  host_->RunFor(absl::Minutes(10));
  EXPECT_THAT(DeliveredTo(), testing::UnorderedElementsAre("a@example.com", "sender@app.test"));
  EXPECT_THAT(NoticesToSender(), ElementsAre(HasSubstr("Connection refused")));
  EXPECT_THAT(Stored(), IsEmpty());
}

}  // namespace
}  // namespace mailrace::engine
