// ServerMachine: an SMTP server's replies, in order, whatever the client sends.

#include "transport/smtp/server_machine.h"

#include <functional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

// A driver that lets everybody in and remembers what it was handed.
class Server {
 public:
  explicit Server(ServerOptions options = {}) : options_(std::move(options)), machine_(&options_) {
    if (options_.hostname.empty()) options_.hostname = "mx.example.com";
    if (options_.banner.empty()) options_.banner = "mx.example.com ESMTP";
  }

  // What the server says to `octets`, which came in pieces of `piece` octets.
  std::string Say(std::string_view octets, size_t piece = SIZE_MAX) {
    std::string replies;
    while (!octets.empty() && !closed_) {
      input_ += octets.substr(0, piece);
      octets.remove_prefix(std::min(piece, octets.size()));
      Run();
      replies += machine_.TakeReplies();
    }
    return replies;
  }
  std::string Greeted() {
    machine_.Greet();
    return machine_.TakeReplies() + Say("EHLO client.example.com\r\n");
  }
  void Transaction() {
    Say("MAIL FROM:<a@example.com>\r\n");
    Say("RCPT TO:<b@example.com>\r\n");
  }

  bool closed() const { return closed_; }
  bool tls_asked() const { return tls_asked_; }
  size_t unread() const { return input_.size(); }
  ServerMachine& machine() { return machine_; }

  std::vector<std::string> mails;
  std::vector<std::string> rcpts;
  std::vector<std::string> messages;
  size_t abandoned = 0;

 private:
  void Run() {
    while (true) {
      std::string_view view = input_;
      const ServerMachine::Event event = machine_.Next(&view, &content_);
      input_.erase(0, input_.size() - view.size());
      switch (event) {
        case ServerMachine::Event::kNeedsInput:
          return;
        case ServerMachine::Event::kMail:
          mails.push_back(machine_.mail().reverse_path);
          machine_.AcceptMail();
          break;
        case ServerMachine::Event::kRcpt:
          rcpts.push_back(machine_.rcpt().forward_path);
          if (rcpts.back().starts_with("refused")) {
            machine_.Refuse("550 5.1.1 No such user");
          } else {
            machine_.AcceptRcpt();
          }
          break;
        case ServerMachine::Event::kMessage:
          messages.push_back(std::exchange(content_, {}));
          machine_.Reply("250 2.0.0 Ok: queued");
          machine_.MessageAccepted();
          break;
        case ServerMachine::Event::kAbandoned:
          ++abandoned;
          content_.clear();
          break;
        case ServerMachine::Event::kRefused:
        case ServerMachine::Event::kAuth:  // Not offered here: server_auth_test.cc.
        case ServerMachine::Event::kAuthResponse:
          break;
        case ServerMachine::Event::kStartTls:
          tls_asked_ = true;
          machine_.TlsStarted();
          break;
        case ServerMachine::Event::kClose:
          closed_ = true;
          return;
      }
    }
  }

  ServerOptions options_;
  ServerMachine machine_;
  std::string input_;
  std::string content_;
  bool closed_ = false;
  bool tls_asked_ = false;
};

TEST(ServerMachineTest, GreetsAndOffersItsExtensions) {
  Server server;
  EXPECT_EQ(server.Greeted(),
            "220 mx.example.com ESMTP\r\n"
            "250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n"
            "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n"
            "250 CHUNKING\r\n");
}

TEST(ServerMachineTest, DiscardedKeywordsAreNotAnnouncedAndDsnIsRefused) {
  ServerOptions options;
  options.discard_ehlo_keywords = {"DSN", "CHUNKING", "SILENT-DISCARD"};
  Server server(options);
  EXPECT_THAT(server.Greeted(), AllOf(Not(HasSubstr("DSN")), EndsWith("250 SMTPUTF8\r\n")));
  const std::string disabled = "501 5.7.1 DSN support is disabled\r\n";
  EXPECT_EQ(server.Say("MAIL FROM:<a@example.com> RET=FULL\r\n"), disabled);
  EXPECT_EQ(server.Say("MAIL FROM:<a@example.com> ENVID=x\r\n"), disabled);
  EXPECT_THAT(server.Say("MAIL FROM:<a@example.com>\r\n"), StartsWith("250 "));
  EXPECT_EQ(server.Say("RCPT TO:<b@example.com> NOTIFY=NEVER\r\n"), disabled);
  EXPECT_EQ(server.Say("RCPT TO:<b@example.com> ORCPT=rfc822;b@example.com\r\n"), disabled);
  EXPECT_THAT(server.Say("RCPT TO:<b@example.com>\r\n"), StartsWith("250 "));
}

TEST(ServerMachineTest, TakesAMessageOnEverySplitOfItsInput) {
  for (const size_t piece : {1u, 2u, 3u, 5u, 7u, 64u, 100000u}) {
    Server server;
    server.Greeted();
    EXPECT_EQ(
        server.Say("MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By\r\n"
                   "RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@d.example\r\n"
                   "RCPT TO:<c@example.com>\r\nDATA\r\n",
                   piece),
        "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n"
        "354 End data with <CR><LF>.<CR><LF>\r\n");
    EXPECT_EQ(server.machine().mail().size, 100);
    EXPECT_EQ(server.machine().mail().envid, "x+y");
    EXPECT_EQ(server.machine().mail().ret, ReturnType::kHeaders);
    EXPECT_EQ(server.Say("S: t\r\n\r\n..x\r\n.\r\nQUIT\r\n", piece),
              "250 2.0.0 Ok: queued\r\n221 2.0.0 Bye\r\n");
    EXPECT_THAT(server.messages, ElementsAre("S: t\r\n\r\n.x\r\n"));
    EXPECT_THAT(server.rcpts, ElementsAre("b@example.com", "c@example.com"));
    EXPECT_TRUE(server.closed());
    EXPECT_EQ(server.machine().CommandCounts(), "ehlo=1 mail=1 rcpt=2 data=1 quit=1 commands=6");
  }
}

struct Exchange {
  std::string_view said;
  std::string_view answered;
};

TEST(ServerMachineTest, CommandsOutOfOrderAndOutOfShapeAreRefused) {
  const Exchange kBeforeMail[] = {
      {"RCPT TO:<b@example.com>\r\n", "503 5.5.1 Error: need MAIL command\r\n"},
      {"DATA\r\n", "503 5.5.1 Error: need RCPT command\r\n"},
      {"MAIL FROM:a@example.com\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n"},
      {"MAIL TO:<a@example.com>\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n"},
      {"MAIL FROM:<a@example.com>SIZE=1\r\n", "501 5.5.4 Syntax: MAIL FROM:<address>\r\n"},
      {"MAIL FROM:<a@example.com> SIZE=abc\r\n", "501 5.5.4 Bad message size syntax\r\n"},
      {"MAIL FROM:<a@example.com> SIZE=-1\r\n", "501 5.5.4 Bad message size syntax\r\n"},
      {"MAIL FROM:<a@example.com> SIZE=9223372036854775808\r\n",
       "552 5.3.4 Message size exceeds fixed limit\r\n"},
      {"MAIL FROM:<a@example.com> SIZE=99999999999999999999999\r\n",
       "552 5.3.4 Message size exceeds fixed limit\r\n"},
      {"MAIL FROM:<a@example.com> BODY=BINARYMIME\r\n", "501 5.5.4 Bad BODY parameter syntax\r\n"},
      {"MAIL FROM:<a@example.com> RET=ALL\r\n", "501 5.5.4 Bad RET parameter syntax\r\n"},
      {"MAIL FROM:<a@example.com> ENVID=+00\r\n", "501 5.5.4 Bad ENVID parameter syntax\r\n"},
      {"MAIL FROM:<a@example.com> ENVID=a+0D+0Ab\r\n", "501 5.5.4 Bad ENVID parameter syntax\r\n"},
      {"MAIL FROM:<a@example.com> ENVID=a+b\r\n", "501 5.5.4 Bad ENVID parameter syntax\r\n"},
      {"MAIL FROM:<a@example.com> FOO=bar\r\n", "555 5.5.4 Unsupported option: FOO=bar\r\n"},
      {"EXPN staff\r\n", "502 5.5.1 Error: command not implemented\r\n"},
      {"HELP\r\n", "502 5.5.1 Error: command not implemented\r\n"},
      {"STARTTLS\r\n", "502 5.5.1 Error: command not implemented\r\n"},
      {"AUTH PLAIN\r\n", "503 5.5.1 Error: authentication not enabled\r\n"},
      {"VRFY b@example.com\r\n", "252 2.0.0 b@example.com\r\n"},
      {"VRFY\r\n", "501 5.5.4 Syntax: VRFY address\r\n"},
      {"NOOP anything\r\n", "250 2.0.0 Ok\r\n"},
      {"RSET\r\n", "250 2.0.0 Ok\r\n"},
      {"\r\n", "500 5.5.2 Error: bad syntax\r\n"},
      {"XYZZY\r\n", "500 5.5.2 Error: command not recognized\r\n"},
  };
  for (const auto& [said, answered] : kBeforeMail) {
    Server server;
    server.Greeted();
    EXPECT_EQ(server.Say(said), answered) << said;
    EXPECT_THAT(server.mails, IsEmpty()) << said;
    EXPECT_FALSE(server.closed()) << said;
  }
}

TEST(ServerMachineTest, RecipientsOutOfShapeAreRefused) {
  const std::string long_orcpt = "rfc822;" + std::string(495, 'x');
  const std::pair<std::string, std::string_view> kExchanges[] = {
      {"<b@example.com> NOTIFY=NEVER,DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax\r\n"},
      {"<b@example.com> NOTIFY=SOMETIMES", "501 5.5.4 Error: Bad NOTIFY parameter syntax\r\n"},
      {"<b@example.com> NOTIFY=", "501 5.5.4 Error: Bad NOTIFY parameter syntax\r\n"},
      {"<b@example.com> ORCPT=rfc822;a+00b", "501 5.5.4 Error: Bad ORCPT parameter syntax\r\n"},
      {"<b@example.com> ORCPT=rfc822", "501 5.5.4 Error: Bad ORCPT parameter syntax\r\n"},
      {"<b@example.com> ORCPT=" + long_orcpt, "501 5.5.4 Error: Bad ORCPT parameter syntax\r\n"},
      {"<b@example.com> SIZE=1", "555 5.5.4 Unsupported option: SIZE=1\r\n"},
      {"b@example.com", "501 5.5.4 Syntax: RCPT TO:<address>\r\n"},
  };
  for (const auto& [said, answered] : kExchanges) {
    Server server;
    server.Greeted();
    server.Say("MAIL FROM:<>\r\n");
    EXPECT_EQ(server.Say("RCPT TO:" + said + "\r\n"), answered);
    EXPECT_THAT(server.rcpts, IsEmpty());
    EXPECT_EQ(server.Say("RCPT TO:<b@example.com>\r\n"), "250 2.1.5 Ok\r\n");
  }
}

TEST(ServerMachineTest, PathsHaveTheirLimitsAndNoControls) {
  Server server;
  server.Greeted();
  server.Say("MAIL FROM:<a@example.com>\r\n");
  const auto rcpt = [&server](const std::string& path) {
    return server.Say("RCPT TO:<" + path + ">\r\n");
  };
  EXPECT_THAT(rcpt(std::string(64, 'l') + "@example.com"), StartsWith("250 "));
  EXPECT_THAT(rcpt(std::string(65, 'l') + "@example.com"), StartsWith("501 5.1.3"));
  EXPECT_THAT(rcpt("b@" + std::string(256, 'd') + ".example"), StartsWith("501 5.1.3"));
  EXPECT_THAT(rcpt("postmaster"), StartsWith("250 "));
  EXPECT_THAT(rcpt("PostMaster"), StartsWith("250 "));
  EXPECT_THAT(rcpt("somebody"), StartsWith("501 5.1.3"));
  EXPECT_THAT(rcpt(""), StartsWith("501 5.1.3"));
  EXPECT_THAT(rcpt("\"a\rDATA\"@example.com"), StartsWith("500 5.5.2"));
  EXPECT_THAT(rcpt("\"a>b\"@example.com"), StartsWith("250 "));
}

TEST(ServerMachineTest, Utf8NeedsSmtpUtf8AndLeavesTheStateIntact) {
  Server server;
  server.Greeted();
  EXPECT_THAT(server.Say("MAIL FROM:<\xc3\xa4@example.com>\r\n"), StartsWith("553 5.6.7"));
  EXPECT_THAT(server.Say("VRFY \xc3\xa4@example.com\r\n"), StartsWith("553 5.6.7"));
  server.Say("MAIL FROM:<a@example.com>\r\n");
  EXPECT_THAT(server.Say("RCPT TO:<\xc3\xa4@example.com>\r\n"), StartsWith("553 5.6.7"));
  EXPECT_EQ(server.Say("RCPT TO:<b@example.com>\r\n"), "250 2.1.5 Ok\r\n");
  server.Say("RSET\r\n");
  EXPECT_EQ(server.Say("MAIL FROM:<\xc3\xa4@example.com> SMTPUTF8\r\n"), "250 2.1.0 Ok\r\n");
  EXPECT_EQ(server.Say("RCPT TO:<\xc3\xb6@example.com>\r\n"), "250 2.1.5 Ok\r\n");
  EXPECT_THAT(server.Say("RCPT TO:<\xc3@example.com>\r\n"), StartsWith("501 5.1.3"));
}

TEST(ServerMachineTest, NestedMailIsRefusedAndEhloResets) {
  Server server;
  server.Greeted();
  server.Transaction();
  EXPECT_EQ(server.Say("MAIL FROM:<x@example.com>\r\n"),
            "503 5.5.1 Error: nested MAIL command\r\n");
  server.Say("EHLO again.example.com\r\n");
  EXPECT_EQ(server.abandoned, 1u);
  EXPECT_EQ(server.Say("DATA\r\n"), "503 5.5.1 Error: need RCPT command\r\n");
}

TEST(ServerMachineTest, AHundredRecipientsPassAndTheRestGet452) {
  Server server({.recipient_limit = 100});
  server.Greeted();
  server.Say("MAIL FROM:<a@example.com>\r\n");
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(server.Say("RCPT TO:<b@example.com>\r\n"), "250 2.1.5 Ok\r\n");
  }
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(server.Say("RCPT TO:<c@example.com>\r\n"),
              "452 4.5.3 Error: too many recipients\r\n");
  }
  EXPECT_THAT(server.Say("DATA\r\n"), StartsWith("354 "));  // The accepted ones are kept.
}

TEST(ServerMachineTest, DataNeedsAValidRecipient) {
  Server server;
  server.Greeted();
  server.Say("MAIL FROM:<a@example.com>\r\n");
  EXPECT_EQ(server.Say("RCPT TO:<refused@example.com>\r\nDATA\r\n"),
            "550 5.1.1 No such user\r\n554 5.5.1 Error: no valid recipients\r\n");
}

TEST(ServerMachineTest, BareLineFeedsInContentAreRefusedAfterTheTrueEnd) {
  Server server;
  server.Greeted();
  server.Transaction();
  server.Say("DATA\r\n");
  const std::string answers = server.Say(
      "first\n.\nMAIL FROM:<e@x.example>\r\nRCPT "
      "TO:<f@x.example>\r\nDATA\r\nsecond\r\n.\r\nNOOP\r\n");
  EXPECT_THAT(answers, StartsWith("550 5.5.2 "));
  EXPECT_THAT(answers, testing::EndsWith("\r\n250 2.0.0 Ok\r\n"));
  EXPECT_THAT(server.messages, IsEmpty());
  EXPECT_EQ(server.mails.size(), 1u);
  EXPECT_EQ(server.Say("DATA\r\n"), "503 5.5.1 Error: need RCPT command\r\n");
}

TEST(ServerMachineTest, RejectCode521HangsUp) {
  Server server({.bare_newline_reject_code = 521});
  server.Greeted();
  server.Transaction();
  server.Say("DATA\r\n");
  EXPECT_THAT(server.Say("a\nb\r\n.\r\nNOOP\r\n"), testing::MatchesRegex("521 5.5.2 [^\n]*\n"));
  EXPECT_TRUE(server.closed());
}

TEST(ServerMachineTest, CommandsEndedByABareLineFeedAreRefusedAndClosed) {
  Server server;
  server.Greeted();
  EXPECT_EQ(server.Say("NOOP\nNOOP\r\n"), "500 5.5.2 Error: bare <LF> received\r\n");
  EXPECT_TRUE(server.closed());
  Server lenient({.bare_newline = BareNewline::kNormalize});
  lenient.Greeted();
  EXPECT_EQ(lenient.Say("NOOP\nNOOP\r\n"), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
}

TEST(ServerMachineTest, WhatComesBeforeALastCommandsReplyEndsTheSession) {
  for (const std::string_view said :
       {"EHLO x.example\r\nMAIL FROM:<a@example.com>\r\n", "DATA\r\nSubject: x\r\n\r\n.\r\n"}) {
    Server server;
    server.Greeted();
    server.Transaction();
    EXPECT_EQ(server.Say(said), "554 5.5.0 Error: SMTP protocol synchronization\r\n");
    EXPECT_TRUE(server.closed());
    EXPECT_THAT(server.messages, IsEmpty());
  }
}

TEST(ServerMachineTest, StartTlsForgetsEverythingAndReadsNothingInjected) {
  Server server({.starttls = true});
  EXPECT_THAT(server.Greeted(), HasSubstr("250-STARTTLS\r\n"));
  EXPECT_EQ(server.Say("STARTTLS foo\r\n"), "501 5.5.4 Syntax: STARTTLS\r\n");
  EXPECT_EQ(server.Say("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
  ASSERT_TRUE(server.tls_asked());
  EXPECT_EQ(server.Say("MAIL FROM:<a@example.com>\r\n"),
            "503 5.5.1 Error: send HELO/EHLO first\r\n");
  EXPECT_THAT(server.Say("EHLO client.example.com\r\n"), Not(HasSubstr("STARTTLS")));
  EXPECT_EQ(server.Say("STARTTLS\r\n"), "503 5.5.1 Error: TLS already active\r\n");

  Server attacked({.forbid_unauth_pipelining = false, .starttls = true});
  attacked.Greeted();
  EXPECT_THAT(attacked.Say("STARTTLS\r\nEHLO evil\r\n"), StartsWith("554 5.5.0"));
  EXPECT_TRUE(attacked.closed());
  EXPECT_FALSE(attacked.tls_asked());
}

TEST(ServerMachineTest, StartTlsWithinATransactionIsRefused) {
  Server server({.starttls = true});
  server.Greeted();
  server.Transaction();
  EXPECT_EQ(server.Say("STARTTLS\r\n"), "503 5.5.1 Error: MAIL transaction in progress\r\n");
}

TEST(ServerMachineTest, ChunksAreCountedNotSearchedForDots) {
  for (const size_t piece : {1u, 4u, 1000u}) {
    Server server;
    server.Greeted();
    server.Transaction();
    EXPECT_EQ(server.Say("BDAT 7\r\n.\r\n..\r\nBDAT 0\r\nBDAT 3 LAST\r\nend", piece),
              "250 2.0.0 Ok: 7 bytes\r\n250 2.0.0 Ok: 0 bytes\r\n250 2.0.0 Ok: queued\r\n");
    EXPECT_THAT(server.messages, ElementsAre(".\r\n..\r\nend\r\n"));
  }
}

TEST(ServerMachineTest, AnEmptyLastChunkEndsTheMessage) {
  Server server;
  server.Greeted();
  server.Transaction();
  EXPECT_EQ(server.Say("BDAT 3\r\na\r\nBDAT 0 LAST\r\n"),
            "250 2.0.0 Ok: 3 bytes\r\n250 2.0.0 Ok: queued\r\n");
  EXPECT_THAT(server.messages, ElementsAre("a\r\n"));
}

TEST(ServerMachineTest, ARefusedChunkIsReadAndNotObeyed) {
  Server server;
  server.Greeted();
  EXPECT_EQ(server.Say("BDAT 6 LAST\r\nRSET\r\nNOOP\r\n"),
            "503 5.5.1 Error: need RCPT command\r\n250 2.0.0 Ok\r\n");
}

TEST(ServerMachineTest, AfterAChunkOnlyChunksFollow) {
  Server server;
  server.Greeted();
  server.Transaction();
  server.Say("BDAT 3\r\na\r\n");
  EXPECT_EQ(server.Say("DATA\r\n"), "503 5.5.1 Error: DATA command after BDAT\r\n");
  EXPECT_EQ(server.Say("RCPT TO:<c@example.com>\r\n"),
            "503 5.5.1 Error: RCPT command after BDAT\r\n");
  EXPECT_EQ(server.Say("MAIL FROM:<c@example.com>\r\n"),
            "503 5.5.1 Error: nested MAIL command\r\n");
}

TEST(ServerMachineTest, AfterAFailedChunkNothingOfTheTransactionIsLeft) {
  Server server({.message_size_limit = 100});
  server.Greeted();
  server.Transaction();
  const std::string big(101, 'x');
  EXPECT_THAT(server.Say("BDAT 101\r\n" + big), StartsWith("552 5.3.4"));
  EXPECT_EQ(server.abandoned, 1u);
  EXPECT_THAT(server.Say("DATA\r\n"), StartsWith("503 5.5.1"));
  EXPECT_THAT(server.Say("BDAT 3 LAST\r\na\r\n"), StartsWith("552 5.3.4"));
  EXPECT_EQ(server.Say("DATA\r\n"), "503 5.5.1 Error: need RCPT command\r\n");
  EXPECT_THAT(server.messages, IsEmpty());
  server.Transaction();
  EXPECT_EQ(server.Say("BDAT 3 LAST\r\nb\r\n"), "250 2.0.0 Ok: queued\r\n");
  EXPECT_THAT(server.messages, ElementsAre("b\r\n"));
}

TEST(ServerMachineTest, ABareLineFeedInAChunkIsRefused) {
  Server server;
  server.Greeted();
  server.Transaction();
  EXPECT_THAT(server.Say("BDAT 4 LAST\r\na\nb\n"), StartsWith("550 5.5.2"));
  EXPECT_THAT(server.messages, IsEmpty());
}

TEST(ServerMachineTest, ChunksThatCannotBeReadAreNotGuessed) {
  for (const std::string_view bad : {"BDAT\r\n", "BDAT x\r\n", "BDAT -1\r\n", "BDAT 1 FIRST\r\n",
                                     "BDAT 18446744073709551616\r\n"}) {
    Server server;
    server.Greeted();
    server.Transaction();
    EXPECT_EQ(server.Say(bad), "501 5.5.4 Syntax: BDAT count [LAST]\r\n") << bad;
    EXPECT_FALSE(server.closed());
    server.Say(std::string(bad) + "MAIL FROM:<e@x.example>\r\n");
    EXPECT_TRUE(server.closed());
  }
}

TEST(ServerMachineTest, AnEndlessChunkOrMessageIsNotReadForEver) {
  Server chunk({.message_size_limit = 10, .discard_octets_max = 1000});
  chunk.Greeted();
  chunk.Transaction();
  EXPECT_THAT(chunk.Say("BDAT 9223372036854775807 LAST\r\n"), StartsWith("552 5.3.4"));
  EXPECT_TRUE(chunk.closed());

  Server data({.message_size_limit = 10, .discard_octets_max = 1000});
  data.Greeted();
  data.Transaction();
  data.Say("DATA\r\n");
  EXPECT_THAT(data.Say(std::string(1200, 'x')), StartsWith("552 5.3.4"));
  EXPECT_TRUE(data.closed());
}

TEST(ServerMachineTest, CommandLinesHaveALimit) {
  Server server;
  server.Greeted();
  EXPECT_EQ(server.Say("NOOP " + std::string(505, 'x') + "\r\n"), "250 2.0.0 Ok\r\n");  // 512
  EXPECT_EQ(server.Say("NOOP " + std::string(506, 'x') + "\r\n"),
            "500 5.5.2 Error: line too long\r\n");
  EXPECT_EQ(server.Say("NOOP " + std::string(20000, 'x') + "\r\nNOOP\r\n", 1000),
            "500 5.5.2 Error: line too long\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(server.Say(std::string(200000, 'x'), 4096), "500 5.5.2 Error: line too long\r\n");
  EXPECT_TRUE(server.closed());
}

TEST(ServerMachineTest, TooManyErrorsEndTheSession) {
  Server server;
  server.Greeted();
  for (int i = 0; i < 19; ++i) server.Say("XYZZY\r\n");
  EXPECT_FALSE(server.closed());
  EXPECT_EQ(server.Say("XYZZY\r\n"),
            "500 5.5.2 Error: command not recognized\r\n"
            "421 4.7.0 mx.example.com Error: too many errors\r\n");
  EXPECT_TRUE(server.closed());
}

TEST(ServerMachineTest, JunkCommandsBecomeErrors) {
  Server server;
  server.Greeted();  // One junk command.
  std::string last;
  int said = 0;
  while (!server.closed() && said < 1000) {
    last = server.Say("NOOP\r\n");
    ++said;
  }
  EXPECT_EQ(said, 119);
  EXPECT_THAT(last, HasSubstr("421 4.7.0 "));
}

TEST(ServerMachineTest, AnAcceptedMessageForgivesErrors) {
  Server server;
  server.Greeted();
  for (int i = 0; i < 60; ++i) {
    server.Say("XYZZY\r\n");
    if (i % 10 != 9) continue;
    server.Transaction();
    server.Say("DATA\r\n");
    server.Say("x\r\n.\r\n");
  }
  EXPECT_FALSE(server.closed());
}

TEST(ServerMachineTest, ATlsHandshakeInClearAndABrowserAreSentAway) {
  Server tls;
  EXPECT_THAT(tls.Say(std::string_view("\x16\x03\x01\x02\x00\x01", 6)), StartsWith("500 5.5.2"));
  EXPECT_TRUE(tls.closed());
  Server browser;
  EXPECT_THAT(browser.Say("GET / HTTP/1.1\r\n"), StartsWith("221 2.7.0"));
  EXPECT_TRUE(browser.closed());
}

TEST(ServerMachineTest, EveryReplyButThoseToHelloBearsAFittingEnhancedCode) {
  Server server;
  server.Greeted();
  std::string replies;
  for (const std::string_view said :
       {"NOOP\r\n", "VRFY a\r\n", "EXPN a\r\n", "HELP\r\n", "RSET\r\n", "AUTH X\r\n", "FOO\r\n",
        "DATA\r\n", "MAIL FROM:<a>\r\n", "MAIL FROM:<a@b.example>\r\n", "RCPT TO:<x>\r\n",
        "RCPT TO:<b@example.com>\r\n", "BDAT 2\r\n\r\n", "BDAT x\r\n", "BDAT 0 LAST\r\n",
        "QUIT\r\n"}) {
    replies += server.Say(said);
  }
  const std::regex fitting("([245])[0-9][0-9] \\1\\.[0-9]{1,3}\\.[0-9]{1,3} .*");
  size_t lines = 0;
  for (size_t at = 0; at < replies.size();) {
    const size_t end = replies.find("\r\n", at);
    EXPECT_TRUE(std::regex_match(replies.substr(at, end - at), fitting))
        << replies.substr(at, end - at);
    at = end + 2;
    ++lines;
  }
  EXPECT_EQ(lines, 16u);
}

}  // namespace
}  // namespace mailrace::transport::smtp
