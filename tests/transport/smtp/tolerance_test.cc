#include "transport/smtp/tolerance.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

using Manner = Tolerance::Manner;

Reply Said(std::string text) { return {250, {std::move(text)}}; }

constexpr MonoTime kStart;

// One message answered as this server does.
void Converse(Tolerance* t, std::string mail, std::string rcpt, std::string end) {
  t->Learn(Step::kMail, Said(std::move(mail)));
  t->Learn(Step::kRcpt, Said(std::move(rcpt)));
  t->Learn(Step::kEndOfData, Said(std::move(end)));
  t->Answered(false);
}

TEST(Tolerance, StreamsNothingToAnUnknownServer) {
  Tolerance t;
  EXPECT_FALSE(t.chunking(kStart));
  EXPECT_EQ(t.window(kStart), 0u);
}

TEST(Tolerance, StreamsWhenBdatWasAcceptedOnce) {
  Tolerance t;
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok: queued as 1");
  EXPECT_TRUE(t.chunking(kStart));
  EXPECT_EQ(t.window(kStart), 0u) << "nobody knows whether it knows BDAT";
  t.KnowsBdat();
  EXPECT_EQ(t.window(kStart), 1u) << "what a message alone takes is to be measured";
  t.AnsweredInStream(1, kStart, kStart + absl::Milliseconds(20));
  EXPECT_EQ(t.window(kStart), 2u);
}

TEST(Tolerance, StreamsNothingWhereNothingMayTravelBehindAMessage) {
  Tolerance t({.cross_message = false});
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok: queued as 1");
  t.KnowsBdat();
  EXPECT_FALSE(t.chunking(kStart));
  EXPECT_EQ(t.window(kStart), 0u);
}

TEST(Tolerance, TellsRepliesApartByTheirWordsToo) {
  Tolerance t;
  Converse(&t, "OK", "Accepted", "OK id=1aB-0001-XX");
  EXPECT_FALSE(t.chunking(kStart)) << "MAIL and the content are answered alike";
  Tolerance sendmail;
  Converse(&sendmail, "<a@x.example>... Sender ok", "<b@x.example>... Recipient ok",
           "u7123 Message accepted for delivery");
  EXPECT_TRUE(sendmail.chunking(kStart));
  EXPECT_TRUE(sendmail.Fits(Step::kMail, Said("<c@y.example>... Sender ok")));
  EXPECT_FALSE(sendmail.Fits(Step::kMail, Said("<c@y.example>... Recipient ok")));
}

TEST(Tolerance, StreamsNothingToAServerThatAnswersAllAlike) {
  Tolerance t;
  for (int i = 0; i < 100; ++i) Converse(&t, "ok", "ok", "ok");
  EXPECT_FALSE(t.chunking(kStart));
}

TEST(Tolerance, AReplyInAStreamIsOfItsCommandsKind) {
  Tolerance t;
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok: queued as 1");
  EXPECT_TRUE(t.Fits(Step::kMail, Said("2.1.0 Fine")));
  EXPECT_FALSE(t.Fits(Step::kMail, Said("2.0.0 Ok")));
  EXPECT_FALSE(t.Fits(Step::kRcpt, Said("2.1.0 Ok")));
  EXPECT_TRUE(t.Fits(Step::kEndOfData, Said("2.6.0 Ok: queued as 2")));
  EXPECT_FALSE(t.Fits(Step::kEndOfData, Said("2.1.5 Ok")));
}

TEST(Tolerance, AServerThatLostItsPlaceIsSpokenToWithCareForAWhile) {
  Tolerance t({.memory = absl::Hours(1)});
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok");
  t.LostItsPlace("503 what", Manner::kAhead, kStart);
  EXPECT_EQ(t.manner(kStart), Manner::kOneByOne);
  EXPECT_FALSE(t.chunking(kStart));
  EXPECT_FALSE(t.cross_message(kStart));
  EXPECT_THAT(t.TakeNews(), testing::Optional(testing::HasSubstr("503 what; for 1h")));
  EXPECT_EQ(t.TakeNews(), std::nullopt);
  EXPECT_EQ(t.manner(kStart + absl::Hours(1)), Manner::kAhead);
  EXPECT_FALSE(t.chunking(kStart + absl::Hours(1))) << "trust is earned again";
}

TEST(Tolerance, OneThatLosesItsPlaceStillIsAskedOneCommandAtATime) {
  Tolerance t;
  t.LostItsPlace("503 what", Manner::kAhead, kStart);
  t.LostItsPlace("503 again", Manner::kOneByOne, kStart);
  EXPECT_EQ(t.manner(kStart), Manner::kLockStep);
}

TEST(Tolerance, SessionsOfOneTimeFindOutOnce) {
  Tolerance t;
  t.LostItsPlace("503 what", Manner::kAhead, kStart);
  t.TakeNews();
  t.LostItsPlace("503 what", Manner::kAhead, kStart);
  EXPECT_EQ(t.manner(kStart), Manner::kOneByOne);
  EXPECT_EQ(t.TakeNews(), std::nullopt);
}

TEST(Tolerance, AnUnknownServerThatHangsUpIsNotSpokenToSoAgain) {
  Tolerance t;
  t.Dropped("connection lost", kStart);
  EXPECT_EQ(t.manner(kStart), Manner::kOneByOne);
}

TEST(Tolerance, OneThatTookManyAndHangsUpOnlyEarnsItsWindowAgain) {
  Tolerance t;
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok");
  t.KnowsBdat();
  for (int i = 0; i < 100; ++i) t.Answered(true);
  t.Dropped("connection lost", kStart);
  EXPECT_EQ(t.manner(kStart), Manner::kAhead);
  EXPECT_EQ(t.window(kStart), 0u);
  EXPECT_EQ(t.TakeNews(), std::nullopt);
}

TEST(Tolerance, AServersLimitOfRecipientsIsKnownForAWhile) {
  Tolerance t({.memory = absl::Hours(1)});
  EXPECT_EQ(t.recipients_max(kStart), 0u);
  t.TooManyRecipients(10, "452 4.5.3 too many", kStart);
  EXPECT_EQ(t.recipients_max(kStart), 10u);
  EXPECT_THAT(t.TakeNews(), testing::Optional(std::string(
                                "takes 10 recipients of a message: 452 4.5.3 too many; for 1h it "
                                "is asked for no more")));
  // A session that had asked before.
  t.TooManyRecipients(10, "452 4.5.3 too many", kStart);
  t.TooManyRecipients(12, "452 4.5.3 too many", kStart);
  EXPECT_EQ(t.TakeNews(), std::nullopt);
  EXPECT_EQ(t.recipients_max(kStart), 10u);
  t.TooManyRecipients(4, "452 4.5.3 too many", kStart);
  EXPECT_EQ(t.recipients_max(kStart), 4u);
  EXPECT_EQ(t.recipients_max(kStart + absl::Hours(1)), 0u);
}

TEST(Tolerance, AWindowOfZeroMeansNoBdat) {
  Tolerance t({.window_max = 0});
  EXPECT_FALSE(t.chunking(kStart));
  Converse(&t, "2.1.0 Ok", "2.1.5 Ok", "2.0.0 Ok");
  EXPECT_EQ(t.window(kStart), 0u);
}

}  // namespace
}  // namespace mailrace::transport::smtp
