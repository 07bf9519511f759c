// A client submits mail: what it hears, what the queue gets, what the log says.

#include <string>

#include "gmock/gmock.h"
#include "tests/engine/intake/intake_fixture.h"

namespace mailrace::engine {
namespace {

using testing::Contains;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

using SubmissionSessionTest = IntakeFixture;

constexpr char kReceived[] =
    "Received: from client.example.com (localhost [127.0.0.1])\r\n"
    "\tby mx.example.com (Mailrace) with ESMTP id 00ABC0000000001\r\n"
    "\tfor <b@example.net>; Sun, 22 Nov 2026 15:00:00 +0000 (UTC)\r\n";

TEST_F(SubmissionSessionTest, TakesAMessageAndStampsItAtTheTop) {
  EXPECT_EQ(Connect(), "220 mx.example.com ESMTP Mailrace\r\n");
  Transaction(" RET=HDRS ENVID=e1 SIZE=1234");
  EXPECT_EQ(acceptor_.admitted_octets, 1234u);
  EXPECT_EQ(Say("Date: x\r\nMessage-ID: <1@x>\r\nSubject: \xc3\xa4\r\n\r\n..hi\r\n.\r\n"),
            "250 2.0.0 Ok: queued as 00ABC0000000001\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  const auto& [envelope, content] = acceptor_.accepted[0];
  EXPECT_EQ(content, std::string(kReceived) +
                         "Date: x\r\nMessage-ID: <1@x>\r\nSubject: \xc3\xa4\r\n\r\n.hi\r\n");
  EXPECT_EQ(envelope.octets, content.size());
  EXPECT_EQ(envelope.chunks, 1u);
  EXPECT_EQ(envelope.reverse_path, "a@example.com");
  EXPECT_EQ(envelope.message_id, "<1@x>");
  EXPECT_EQ(envelope.ret, queue::Ret::kHeaders);
  EXPECT_EQ(envelope.envid, "e1");
  EXPECT_TRUE(envelope.eight_bit);
  EXPECT_EQ(Say("QUIT\r\n"), "221 2.0.0 Bye\r\n");
  EXPECT_TRUE(over());
  EXPECT_THAT(log_.lines,
              testing::ElementsAre("smtpd: connect from localhost[127.0.0.1]",
                                   "smtpd: 00ABC0000000001: client=localhost[127.0.0.1]",
                                   "cleanup: 00ABC0000000001: message-id=<1@x>",
                                   "smtpd: disconnect from localhost[127.0.0.1] ehlo=1 mail=1 "
                                   "rcpt=1 data=1 quit=1 commands=5"));
}

TEST_F(SubmissionSessionTest, AMessageBeganWithItsMailCommand) {
  Connect();
  Pass(absl::Seconds(7));
  const MonoTime mail = clock_.Mono();
  Transaction();
  Pass(absl::Seconds(5));
  Say("Subject: s\r\n\r\nslowly\r\n.\r\n");
  ASSERT_THAT(acceptor_.begun_times, SizeIs(1));
  ASSERT_TRUE(acceptor_.begun_times[0].has_value());
  EXPECT_EQ(*acceptor_.begun_times[0] - mail, absl::ZeroDuration());
}

TEST_F(SubmissionSessionTest, AddsDateAndMessageIdWhereTheyAreAbsent) {
  Connect();
  Transaction();
  Say("Subject: s\r\n\r\nDate: in the body\r\n.\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  EXPECT_EQ(acceptor_.accepted[0].content,
            std::string(kReceived) +
                "Message-Id: <20261122150000.00ABC0000000001@mx.example.com>\r\n"
                "Date: Sun, 22 Nov 2026 15:00:00 +0000 (UTC)\r\n"
                "Subject: s\r\n\r\nDate: in the body\r\n");
}

TEST_F(SubmissionSessionTest, WhatTheClientSentStaysAsItWasHoweverMalformed) {
  Connect();
  Say("EHLO client.example.com\r\n");
  for (const std::string content :
       {"", "\r\n", "\r\nonly a body\r\n", "no header at all\r\nsecond\r\n", " folded start\r\n",
        "From someone Fri Apr  6 2001\r\nDate: x\r\nMessage-Id: <m@x>\r\n\r\nmbox\r\n",
        "Bad Header: x\r\nSubject: y\r\n\r\n", ": nameless\r\n\r\nx\r\n"}) {
    Say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    EXPECT_THAT(Say(content + ".\r\n"), StartsWith("250 "));
    EXPECT_THAT(acceptor_.accepted.back().content, StartsWith("Received: "));
    EXPECT_THAT(acceptor_.accepted.back().content, EndsWith("\r\n" + content));
  }
  EXPECT_EQ(acceptor_.accepted[5].envelope.message_id, "<m@x>");
}

TEST_F(SubmissionSessionTest, NamesNoRecipientWhenThereAreSeveral) {
  Connect();
  Say("HELO client.example.com\r\n");
  Say("MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<postmaster>\r\nDATA\r\n");
  Say("Date: x\r\nMessage-Id: <m@x>\r\n\r\n.\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  EXPECT_THAT(acceptor_.accepted[0].content,
              HasSubstr("with SMTP id 00ABC0000000001;\r\n\tSun, 22 Nov 2026"));
  EXPECT_EQ(acceptor_.accepted[0].envelope.recipients[1].address, "postmaster@mx.example.com");
}

// Go's net/smtp asks for SMTPUTF8 whenever it is offered.
TEST_F(SubmissionSessionTest, OnlyInternationalisedMailNeedsARelayWithSmtpUtf8) {
  Connect();
  Say("EHLO client.example.com\r\n");
  const auto needs = [this](const std::string& from, const std::string& to,
                            const std::string& content) {
    Say("MAIL FROM:<" + from + "> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:" + to + "\r\nDATA\r\n");
    const size_t before = acceptor_.accepted.size();
    Say(content + ".\r\n");
    EXPECT_EQ(acceptor_.accepted.size(), before + 1);
    return acceptor_.accepted.back().envelope.smtputf8;
  };
  EXPECT_FALSE(needs("a@example.com", "<b@example.net>", "Subject: s\r\n\r\nx\r\n"));
  EXPECT_FALSE(needs("a@example.com", "<b@example.net>", "Subject: s\r\n\r\n\u00e4\r\n"));
  EXPECT_TRUE(needs("a@example.com", "<b@example.net>", "Subject: \u00e4\r\n\r\nx\r\n"));
  EXPECT_TRUE(needs("\u00e4@example.com", "<b@example.net>", "Subject: s\r\n\r\nx\r\n"));
  EXPECT_TRUE(needs("a@example.com", "<b@ex\u00e4mple.net>", "Subject: s\r\n\r\nx\r\n"));
  EXPECT_TRUE(needs("a@example.com", "<b@example.net> ORCPT=utf-8;\u00e4@example.net",
                    "Subject: s\r\n\r\nx\r\n"));
}

TEST_F(SubmissionSessionTest, WhoIsNamedTwiceGetsTheMessageOnce) {
  Connect();
  Say("EHLO client.example.com\r\n");
  Say("MAIL FROM:<a@example.com>\r\n");
  const std::string replies =
      Say("RCPT TO:<b@example.net>\r\nRCPT TO:<b@EXAMPLE.net>\r\nRCPT TO:<B@example.net>\r\n"
          "RCPT TO:<b@example.net> NOTIFY=NEVER\r\nRCPT TO:<b@example.net>\r\n"
          "RCPT TO:<c@example.net> ORCPT=rfc822;x@y\r\nRCPT TO:<c@example.net>\r\n"
          "RCPT TO:<postmaster>\r\nRCPT TO:<postmaster@mx.example.com>\r\n");
  EXPECT_EQ(replies, [] {
    std::string nine;
    for (int i = 0; i < 9; ++i) nine += "250 2.1.5 Ok\r\n";
    return nine;
  }());
  Say("DATA\r\n");
  Say("Subject: s\r\n\r\n.\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  std::vector<std::string> addresses;
  for (const queue::Recipient& recipient : acceptor_.accepted[0].envelope.recipients) {
    addresses.push_back(recipient.address);
  }
  // Other wishes for notices make another recipient, and so may the case of a local part.
  EXPECT_THAT(addresses,
              testing::ElementsAre("b@example.net", "B@example.net", "b@example.net",
                                   "c@example.net", "c@example.net", "postmaster@mx.example.com"));
}

TEST_F(SubmissionSessionTest, SaysNothingGoodBeforeTheMessageIsDurable) {
  acceptor_.hold = true;
  Connect();
  Transaction();
  EXPECT_EQ(Say("Subject: x\r\n\r\n.\r\n"), "");
  EXPECT_EQ(acceptor_.waiting, 1u);
  Pass(absl::Minutes(10));
  EXPECT_EQ(Heard(), "");
  acceptor_.Release();
  EXPECT_EQ(Heard(), "250 2.0.0 Ok: queued as 00ABC0000000001\r\n");
}

TEST_F(SubmissionSessionTest, PipelinedMessagesShareTheirCommitAndKeepTheirOrder) {
  acceptor_.hold = true;
  Connect();
  Say("EHLO client.example.com\r\n");
  const std::string message =
      "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 4 LAST\r\nx:\r\n";
  EXPECT_EQ(Say(message + message + "VRFY x\r\n" + message), "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
  EXPECT_EQ(acceptor_.waiting, 3u);
  acceptor_.Release();
  EXPECT_EQ(Heard(),
            "250 2.0.0 Ok: queued as 00ABC0000000001\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
            "250 2.0.0 Ok: queued as 00ABC0000000002\r\n252 2.0.0 x\r\n250 2.1.0 Ok\r\n"
            "250 2.1.5 Ok\r\n250 2.0.0 Ok: queued as 00ABC0000000003\r\n");
}

TEST_F(SubmissionSessionTest, AClientThatLeavesDuringTheCommitLeavesItsMessage) {
  acceptor_.hold = true;
  Connect();
  Transaction();
  Say("Subject: x\r\n\r\n.\r\n");
  HangUp();
  EXPECT_FALSE(over());
  acceptor_.Release();
  Heard();
  EXPECT_TRUE(over());
  EXPECT_THAT(acceptor_.accepted, SizeIs(1));
}

TEST_F(SubmissionSessionTest, AQueueThatFailsIsATemporaryRefusal) {
  Connect();
  Transaction();
  acceptor_.accept_status = absl::UnavailableError("EIO");
  EXPECT_EQ(Say("x: y\r\n\r\n.\r\n"), "451 4.3.0 Error: queue file write error\r\n");
  acceptor_.admit_status = absl::ResourceExhaustedError("no room");
  EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"), "452 4.3.1 Insufficient system storage\r\n");
  acceptor_.admit_status = absl::OkStatus();
  EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"), "250 2.1.0 Ok\r\n");
  EXPECT_THAT(acceptor_.accepted, IsEmpty());
}

TEST_F(SubmissionSessionTest, LargeContentIsStoredInRecordsWithBoundedMemory) {
  Connect();
  Transaction();
  std::string sent = "Subject: large\r\n\r\n";
  Say(sent);
  const std::string line = std::string(98, 'x') + "\r\n";
  std::string part;
  for (int i = 0; i < 500; ++i) part += line;
  for (int i = 0; i < 20; ++i) {
    Say(part);
    sent += part;
  }
  EXPECT_THAT(Say(".\r\n"), StartsWith("250 "));
  EXPECT_THAT(acceptor_.chunk_sizes, testing::Each(queue::kChunkOctetsMax));
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  const auto& [envelope, content] = acceptor_.accepted[0];
  EXPECT_EQ(envelope.chunks, acceptor_.chunk_sizes.size() + 1);
  EXPECT_EQ(envelope.octets, content.size());
  EXPECT_THAT(content, EndsWith(sent));
}

TEST_F(SubmissionSessionTest, RecordsOfAMessageThatIsGivenUpAreAbandoned) {
  Connect();
  Transaction();
  std::string part = "Subject: x\r\n\r\n";
  for (int i = 0; i < 4000; ++i) part += std::string(98, 'x') + "\r\n";
  Say(part);
  ASSERT_THAT(acceptor_.chunk_sizes, SizeIs(1));
  HangUp();
  EXPECT_TRUE(over());
  EXPECT_THAT(acceptor_.abandoned,
              testing::ElementsAre(testing::Pair(QueueId{0xABC0000000001}, 1)));
  EXPECT_THAT(acceptor_.accepted, IsEmpty());
  EXPECT_THAT(log_.lines, Contains(HasSubstr("lost connection after DATA (")));
}

TEST_F(SubmissionSessionTest, ContentWithoutItsEndIsNeverQueued) {
  Connect();
  Transaction();
  Say("Subject: x\r\n\r\ntext\r\n.");
  HangUp();
  EXPECT_THAT(acceptor_.accepted, IsEmpty());
  EXPECT_TRUE(over());
}

TEST_F(SubmissionSessionTest, LoopsAndGiantHeadersAreRefusedAtTheEndOfData) {
  Connect();
  Say("EHLO client.example.com\r\n");
  const auto send = [this](int lines, const std::string& field) {
    Say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
    for (int i = 0; i < lines; ++i) Say(field + "\r\n");
    return Say("\r\nbody\r\n.\r\n");
  };
  EXPECT_THAT(send(100, "Received: x"), StartsWith("250 "));
  EXPECT_EQ(send(101, "Received: x"), "554 5.4.6 Error: too many hops\r\n");
  EXPECT_EQ(send(300, "X-Filler: " + std::string(900, 'f')),
            "552 5.3.4 Error: message header too big\r\n");
  EXPECT_THAT(acceptor_.accepted, SizeIs(1));
}

TEST_F(SubmissionSessionTest, OnlyMyNetworksMaySubmit) {
  options_.mynetworks = *config::NetworkList::Parse("192.0.2.0/24");
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_THAT(Say("MAIL FROM:<a@example.com>\r\n"), StartsWith("554 5.7.1 "));
  EXPECT_EQ(Say("RCPT TO:<b@example.net>\r\n"), "503 5.5.1 Error: need MAIL command\r\n");
  EXPECT_THAT(log_.lines, Contains(StartsWith("smtpd: NOQUEUE: reject: MAIL from localhost[")));
}

TEST_F(SubmissionSessionTest, DomainsAreFullyQualified) {
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_THAT(Say("MAIL FROM:<a@b>\r\n"), StartsWith("554 5.5.2 "));
  EXPECT_THAT(Say("MAIL FROM:<a@localhost>\r\n"), StartsWith("250 "));
  EXPECT_THAT(Say("RCPT TO:<a@b>\r\n"), StartsWith("554 5.5.2 "));
  EXPECT_THAT(Say("RCPT TO:<a@[192.0.2.1]>\r\n"), StartsWith("250 "));
}

TEST_F(SubmissionSessionTest, AHostileHeloNameStaysWithinItsField) {
  Connect();
  Say("EHLO x)(by;evil:<a@b>\"\\\r\n");
  Say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
  Say(".\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  EXPECT_THAT(acceptor_.accepted[0].content,
              StartsWith("Received: from x??by?evil??a?b??? (localhost [127.0.0.1])\r\n"));
}

TEST_F(SubmissionSessionTest, ASlowClientHasADeadlineForTheWholeRequest) {
  Connect();
  for (int i = 0; i < 29; ++i) {
    Say("E");
    Pass(absl::Seconds(10));
  }
  EXPECT_FALSE(over());
  Pass(absl::Seconds(20));
  EXPECT_EQ(Heard(), "421 4.4.2 mx.example.com Error: timeout exceeded\r\n");
  EXPECT_TRUE(over());
}

TEST_F(SubmissionSessionTest, ContentMustComeAtAMinimumRate) {
  Connect();
  Transaction();
  const std::string second(options_.smtpd_min_data_rate - 2, 'x');
  for (int i = 0; i < 1000; ++i) {  // Fast enough: three times the timeout passes.
    Say(second + "\r\n");
    Pass(absl::Seconds(1));
  }
  EXPECT_FALSE(over());
  for (int i = 0; i < 40; ++i) {
    Say("y");
    Pass(absl::Seconds(10));
  }
  EXPECT_TRUE(over());
  EXPECT_THAT(acceptor_.accepted, IsEmpty());
}

TEST_F(SubmissionSessionTest, StoppingSays421BetweenMessagesAndLetsOneFinish) {
  Connect();
  Transaction();
  session_->Stop();
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(Say("x: y\r\n\r\n.\r\n"),
            "250 2.0.0 Ok: queued as 00ABC0000000001\r\n"
            "421 4.3.2 mx.example.com Service shutting down, try later\r\n");
  EXPECT_TRUE(over());

  Connect();
  session_->Stop();
  EXPECT_EQ(Heard(), "421 4.3.2 mx.example.com Service shutting down, try later\r\n");
  EXPECT_TRUE(over());
}

TEST_F(SubmissionSessionTest, StoppingNowEndsAMessageUnderWay) {
  Connect();
  Transaction();
  session_->StopNow();
  EXPECT_THAT(Heard(), StartsWith("421 4.3.2 "));
  EXPECT_TRUE(over());
  EXPECT_THAT(acceptor_.accepted, IsEmpty());
}

}  // namespace
}  // namespace mailrace::engine
