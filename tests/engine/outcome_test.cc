// The table of reliability.md 5.2, as far as it is about one recipient: what a reply or a
// failure at a step means.
#include "engine/outcome.h"

#include <ostream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::Not;
using transport::smtp::Failure;
using transport::smtp::OutgoingRecipient;
using transport::smtp::Reply;
using transport::smtp::Step;
using Kind = Disposition::Kind;
using Result = OutgoingRecipient::Result;

const logs::Peer kRelay{"relay.test", "192.0.2.1", 25};

Reply MakeReply(int code, std::string text) { return Reply{code, {std::move(text)}}; }

struct Refusal {
  Step step;
  int code;
  std::string text;
  Kind kind;
  std::string status;
};
void PrintTo(const Refusal& r, std::ostream* out) { *out << static_cast<int>(r.step) << r.code; }

class RefusalTest : public testing::TestWithParam<Refusal> {
 protected:
  Disposition Judge(bool soft_bounce) const {
    OutgoingRecipient recipient;
    recipient.result = Result::kRefused;
    recipient.step = GetParam().step;
    recipient.reply = MakeReply(GetParam().code, GetParam().text);
    return JudgeRecipient(recipient, std::nullopt, kRelay, soft_bounce);
  }
};

TEST_P(RefusalTest, ReplyDecides) {
  const Disposition d = Judge(false);
  EXPECT_EQ(d.kind, GetParam().kind);
  EXPECT_EQ(d.status.ToString(), GetParam().status);
  EXPECT_FALSE(d.uncertain);
  EXPECT_THAT(d.text, HasSubstr(GetParam().text));
  EXPECT_THAT(d.text, HasSubstr("relay.test[192.0.2.1]"));
}

TEST_P(RefusalTest, SoftBounceFailsNobody) {
  const Disposition d = Judge(true);
  EXPECT_EQ(d.kind, Kind::kDeferred);
  EXPECT_EQ(d.status.klass, 4);
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusalTest,
    testing::Values(Refusal{Step::kMail, 451, "4.3.0 later", Kind::kDeferred, "4.3.0"},
                    Refusal{Step::kMail, 550, "5.7.1 no", Kind::kFailed, "5.7.1"},
                    Refusal{Step::kMail, 530, "5.7.0 authenticate first", Kind::kDeferred, "4.7.0"},
                    Refusal{Step::kMail, 538, "5.7.11 encrypt", Kind::kDeferred, "4.7.11"},
                    Refusal{Step::kMail, 552, "5.3.4 too big", Kind::kFailed, "5.3.4"},
                    Refusal{Step::kRcpt, 450, "4.2.1 greylisted", Kind::kDeferred, "4.2.1"},
                    Refusal{Step::kRcpt, 452, "too many recipients", Kind::kDeferred, "4.0.0"},
                    Refusal{Step::kRcpt, 552, "5.5.3 too many recipients", Kind::kDeferred,
                            "4.5.3"},
                    Refusal{Step::kRcpt, 550, "5.1.1 unknown", Kind::kFailed, "5.1.1"},
                    Refusal{Step::kRcpt, 550, "2.1.5 wrong class", Kind::kFailed, "5.0.0"},
                    Refusal{Step::kData, 451, "4.3.0 later", Kind::kDeferred, "4.3.0"},
                    Refusal{Step::kData, 554, "5.5.1 no", Kind::kFailed, "5.5.1"},
                    Refusal{Step::kEndOfData, 452, "4.3.1 full", Kind::kDeferred, "4.3.1"},
                    Refusal{Step::kEndOfData, 421, "4.3.2 closing", Kind::kDeferred, "4.3.2"},
                    Refusal{Step::kEndOfData, 554, "5.6.0 spam", Kind::kFailed, "5.6.0"}));

TEST(JudgeRecipientTest, APositiveReplyDelivers) {
  OutgoingRecipient recipient;
  recipient.result = Result::kAccepted;
  recipient.reply = MakeReply(250, "2.0.0 queued as 4711");
  const Disposition d = JudgeRecipient(recipient, std::nullopt, kRelay, true);
  EXPECT_EQ(d.kind, Kind::kDelivered);
  EXPECT_EQ(d.status.ToString(), "2.0.0");
  EXPECT_EQ(d.text, "250 2.0.0 queued as 4711");
}

TEST(JudgeRecipientTest, WhoWasNotReachedIsUntried) {
  OutgoingRecipient recipient;
  recipient.result = Result::kUntried;
  EXPECT_EQ(JudgeRecipient(recipient, std::nullopt, kRelay, false).kind, Kind::kUntried);
}

TEST(JudgeRecipientTest, OurOwnVerdictNamesNoServer) {
  OutgoingRecipient recipient;
  recipient.result = Result::kRefused;
  recipient.reply = MakeReply(550, "5.6.7 SMTPUTF8 is not offered");
  Failure own;
  own.text = transport::smtp::kOwnReplyText;
  const Disposition d = JudgeRecipient(recipient, own, kRelay, false);
  EXPECT_EQ(d.kind, Kind::kFailed);
  EXPECT_THAT(d.text, Not(HasSubstr("relay.test")));
}

// Whatever breaks behind the final dot: deferred, uncertain, and the log says why.
TEST(JudgeRecipientTest, AfterTheFinalDotEveryBreakIsUncertain) {
  for (const Failure::Kind kind : {Failure::Kind::kLost, Failure::Kind::kTimeout,
                                   Failure::Kind::kProtocol, Failure::Kind::kLocal}) {
    OutgoingRecipient recipient;
    recipient.result = Result::kUncertain;
    recipient.step = Step::kEndOfData;
    Failure failure{kind, Step::kEndOfData};
    failure.text = "what happened";
    const Disposition d = JudgeRecipient(recipient, failure, kRelay, false);
    EXPECT_EQ(d.kind, Kind::kDeferred);
    EXPECT_TRUE(d.uncertain);
    EXPECT_EQ(d.status.klass, 4);
    EXPECT_THAT(d.text, HasSubstr("message may be sent more than once"));
  }
}

TEST(JudgeRecipientTest, BeforeTheFinalDotNoBreakIsUncertain) {
  for (const Step step : {Step::kMail, Step::kRcpt, Step::kData, Step::kBody}) {
    for (const Failure::Kind kind :
         {Failure::Kind::kLost, Failure::Kind::kTimeout, Failure::Kind::kProtocol}) {
      OutgoingRecipient recipient;
      recipient.result = Result::kFailed;
      recipient.step = step;
      const Disposition d = JudgeRecipient(recipient, Failure{kind, step}, kRelay, false);
      EXPECT_EQ(d.kind, Kind::kDeferred);
      EXPECT_FALSE(d.uncertain);
      EXPECT_THAT(d.text, Not(HasSubstr("more than once")));
    }
  }
}

struct Explained {
  Failure failure;
  std::string status;
  std::string text;
};

TEST(ExplainFailureTest, NoTroubleWithASessionFailsMail) {
  const std::vector<Explained> table = {
      {{Failure::Kind::kReply, Step::kGreeting, MakeReply(554, "5.7.1 go away")},
       "4.7.1",
       "refused to talk to me: 554 5.7.1 go away"},
      {{Failure::Kind::kReply, Step::kGreeting, MakeReply(421, "4.3.2 busy")}, "4.3.2", "421"},
      {{Failure::Kind::kReply, Step::kEhlo, MakeReply(550, "no")},
       "4.0.0",
       "said: 550 no (in reply to EHLO command)"},
      {{Failure::Kind::kReply, Step::kAuth, MakeReply(535, "5.7.8 wrong")},
       "4.7.8",
       "SASL authentication failed; server relay.test[192.0.2.1] said: 535 5.7.8 wrong"},
      {{Failure::Kind::kLost, Step::kGreeting},
       "4.4.2",
       "lost connection with relay.test[192.0.2.1] while receiving the initial server greeting"},
      {{Failure::Kind::kTimeout, Step::kEhlo},
       "4.4.2",
       "conversation with relay.test[192.0.2.1] timed out while performing the EHLO handshake"},
      {{Failure::Kind::kProtocol, Step::kRcpt, std::nullopt, "garbage"}, "4.5.0", "garbage"},
      {{Failure::Kind::kTls, Step::kTlsHandshake}, "4.7.5", "handshake"},
      {{Failure::Kind::kSasl, Step::kAuth, std::nullopt, "no proof"}, "4.7.0", "no proof"},
      {{Failure::Kind::kLocal, Step::kBody, std::nullopt, "unreadable"}, "4.3.0", "unreadable"},
      {{Failure::Kind::kTimeout, Step::kConnect, std::nullopt, "Connection timed out"},
       "4.4.1",
       "connect to relay.test[192.0.2.1]:25: Connection timed out"},
  };
  for (const Explained& row : table) {
    const Trouble trouble = ExplainFailure(row.failure, kRelay);
    EXPECT_EQ(trouble.status.ToString(), row.status) << row.text;
    EXPECT_THAT(trouble.text, HasSubstr(row.text));
  }
}

TEST(ExplainFailureTest, HostileTextIsMadeHarmless) {
  Failure failure{Failure::Kind::kProtocol, Step::kMail, std::nullopt, "a\r\nstatus=sent\x1b[2J"};
  const std::string text = ExplainFailure(failure, kRelay).text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace mailrace::engine
