// ServerMachine and AUTH (RFC 4954): what it offers when, and what it makes of each line.

#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/smtp/base64.h"
#include "transport/smtp/server_machine.h"

namespace mailrace::transport::smtp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Event = ServerMachine::Event;

// One login of a user and a password in two steps, as LOGIN has it; "open sesame" is right.
class AuthServer {
 public:
  explicit AuthServer(ServerOptions options = Offering()) : options_(std::move(options)) {
    options_.hostname = "mx.example.com";
    options_.banner = "mx.example.com ESMTP";
  }
  static ServerOptions Offering() {
    ServerOptions options;
    options.starttls = true;
    options.auth_mechanisms = {"CRAM-MD5"};
    options.auth_mechanisms_tls = {"CRAM-MD5", "LOGIN"};
    return options;
  }

  std::string Say(std::string_view octets) {
    input_ += octets;
    while (!closed_) {
      std::string_view view = input_;
      const Event event = machine_.Next(&view, &content_);
      input_.erase(0, input_.size() - view.size());
      if (event == Event::kNeedsInput) break;
      Handle(event);
    }
    return machine_.TakeReplies();
  }
  // Behind a greeting inside TLS.
  void Secured() {
    Say("EHLO client\r\n");
    Say("STARTTLS\r\n");
    Say("EHLO client\r\n");
  }
  bool closed() const { return closed_; }
  ServerMachine& machine() { return machine_; }
  std::vector<std::string> exchange;

 private:
  void Handle(Event event) {
    switch (event) {
      case Event::kStartTls:
        return machine_.TlsStarted();
      case Event::kMail:
        return machine_.AcceptMail();
      case Event::kAuth:
        exchange.push_back(machine_.auth_mechanism() + " " + machine_.auth_response());
        return machine_.AuthChallenge("Password:");
      case Event::kAuthResponse:
        exchange.push_back(machine_.auth_response());
        if (machine_.auth_response() == "open sesame") return machine_.AuthSucceeded();
        return machine_.AuthFailed();
      case Event::kClose:
        closed_ = true;
        return;
      default:
        return;
    }
  }

  ServerOptions options_;
  ServerMachine machine_{&options_};
  std::string input_;
  std::string content_;
  bool closed_ = false;
};

std::string Line(std::string_view text) { return EncodeBase64(text) + "\r\n"; }

TEST(ServerAuthTest, OffersWhatMayBeUsedWhereItIs) {
  AuthServer server;
  EXPECT_THAT(server.Say("EHLO client\r\n"), HasSubstr("250-AUTH CRAM-MD5\r\n"));
  server.Say("STARTTLS\r\n");
  EXPECT_THAT(server.Say("EHLO client\r\n"), HasSubstr("250-AUTH CRAM-MD5 LOGIN\r\n"));
}

TEST(ServerAuthTest, InClearIsNoLoginWhereItNeedsTls) {
  ServerOptions options = AuthServer::Offering();
  options.auth_mechanisms.clear();
  AuthServer server(options);
  EXPECT_THAT(server.Say("EHLO client\r\n"), Not(HasSubstr("AUTH")));
  EXPECT_EQ(server.Say("AUTH LOGIN\r\n"),
            "538 5.7.11 Encryption required for requested authentication mechanism\r\n");
  EXPECT_THAT(server.exchange, IsEmpty());
}

TEST(ServerAuthTest, AnExchangeEndsWithALogin) {
  AuthServer server;
  server.Secured();
  EXPECT_EQ(server.Say("AUTH login " + Line("app")), "334 UGFzc3dvcmQ6\r\n");
  EXPECT_EQ(server.Say(Line("open sesame")), "235 2.7.0 Authentication successful\r\n");
  EXPECT_THAT(server.exchange, ElementsAre("LOGIN app", "open sesame"));
  EXPECT_TRUE(server.machine().authenticated());
  EXPECT_EQ(server.Say("AUTH LOGIN\r\n"), "503 5.5.1 Error: already authenticated\r\n");
  // Logged in stays logged in behind a new EHLO, and is offered no AUTH any more.
  EXPECT_THAT(server.Say("EHLO client\r\n"), Not(HasSubstr("AUTH")));
  EXPECT_TRUE(server.machine().authenticated());
}

TEST(ServerAuthTest, StartTlsForgetsWhoLoggedInBeforeIt) {
  AuthServer server;
  server.Say("EHLO client\r\n");
  server.Say("AUTH CRAM-MD5\r\n");
  server.Say(Line("open sesame"));
  ASSERT_TRUE(server.machine().authenticated());
  server.Say("STARTTLS\r\n");
  EXPECT_FALSE(server.machine().authenticated());
}

TEST(ServerAuthTest, AnEmptyInitialResponseIsAnEqualsSign) {
  AuthServer server;
  server.Secured();
  EXPECT_EQ(server.Say("AUTH LOGIN =\r\n"), "334 UGFzc3dvcmQ6\r\n");
  EXPECT_THAT(server.exchange, ElementsAre("LOGIN "));
}

TEST(ServerAuthTest, LinesOutOfShapeAreRefusedAndTheSessionGoesOn) {
  const std::pair<std::string, std::string_view> kExchanges[] = {
      {"AUTH\r\n", "501 5.5.4 Syntax: AUTH mechanism\r\n"},
      {"AUTH LOGIN YQ== YQ==\r\n", "501 5.5.4 Syntax: AUTH mechanism\r\n"},
      {"AUTH GSSAPI\r\n", "504 5.5.4 Error: unrecognized authentication mechanism\r\n"},
      {"AUTH LOGIN !!!\r\n", "501 5.5.2 Error: invalid base64 data\r\n"},
      {"AUTH LOGIN YQ\r\n", "501 5.5.2 Error: invalid base64 data\r\n"},
  };
  for (const auto& [said, answered] : kExchanges) {
    AuthServer server;
    server.Secured();
    EXPECT_EQ(server.Say(said), answered) << said;
    EXPECT_THAT(server.exchange, IsEmpty()) << said;
    EXPECT_EQ(server.Say("NOOP\r\n"), "250 2.0.0 Ok\r\n") << said;
  }
}

TEST(ServerAuthTest, AResponseOutOfShapeEndsTheExchange) {
  const std::pair<std::string, std::string_view> kExchanges[] = {
      {"*\r\n", "501 5.7.0 Authentication aborted\r\n"},
      {"***\r\n", "501 5.5.2 Error: invalid base64 data\r\n"},
      {std::string(3000, 'A') + "\r\n", "500 5.5.2 Error: line too long\r\n"},
  };
  for (const auto& [said, answered] : kExchanges) {
    AuthServer server;
    server.Secured();
    server.Say("AUTH LOGIN\r\n");
    EXPECT_EQ(server.Say(said), answered);
    EXPECT_EQ(server.Say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
    EXPECT_FALSE(server.machine().authenticated());
  }
}

TEST(ServerAuthTest, NotInsideATransactionNorBeforeEhlo) {
  AuthServer server;
  EXPECT_EQ(server.Say("AUTH CRAM-MD5\r\n"), "503 5.5.1 Error: send EHLO first\r\n");
  server.Say("HELO client\r\n");
  EXPECT_EQ(server.Say("AUTH CRAM-MD5\r\n"), "503 5.5.1 Error: send EHLO first\r\n");
  server.Say("EHLO client\r\n");
  server.Say("MAIL FROM:<a@example.com>\r\n");
  EXPECT_EQ(server.Say("AUTH CRAM-MD5\r\n"), "503 5.5.1 Error: MAIL transaction in progress\r\n");
}

TEST(ServerAuthTest, WhatIsSentWithoutWaitingIsNoResponse) {
  AuthServer server;
  server.Secured();
  EXPECT_EQ(server.Say("AUTH LOGIN\r\n" + Line("open sesame")),
            "554 5.5.0 Error: SMTP protocol synchronization\r\n");
  EXPECT_TRUE(server.closed());
  EXPECT_THAT(server.exchange, IsEmpty());
}

TEST(ServerAuthTest, NothingOfALoginIsKeptForTheLog) {
  const std::string secret = EncodeBase64("open sesame");
  const std::vector<std::string> kDialogues[] = {
      {"AUTH LOGIN\r\n" + secret + "\r\n"},         // Without waiting for the challenge.
      {"AUTH LOGIN\r\n", secret + "\r\nNOOP\r\n"},  // Nor for the outcome.
      {"AUTH LOGIN\r\n", secret + "\n"},            // A bare LF.
      {"AUTH LOGIN " + secret + "\n"},              //
      {"EHLO client\r\nauth login " + secret + "\r\n"},
      {"DATA\r\n", "EHLO client\r\nNOOP\r\nAUTH LOGIN " + secret + "\r\n"},
  };
  for (const std::vector<std::string>& dialogue : kDialogues) {
    AuthServer server;
    server.Secured();
    for (const std::string& said : dialogue) server.Say(said);
    EXPECT_TRUE(server.closed()) << dialogue.back();
    EXPECT_THAT(server.machine().improper_input(), HasSubstr("AUTH (not shown)"));
    EXPECT_THAT(server.machine().improper_input(), Not(HasSubstr(secret)));
    EXPECT_THAT(server.machine().refusal(), Not(HasSubstr(secret)));
  }
}

TEST(ServerAuthTest, AfterThreeWrongPasswordsItHangsUp) {
  AuthServer server;
  server.Secured();
  for (int i = 0; i < 2; ++i) {
    server.Say("AUTH LOGIN\r\n");
    EXPECT_EQ(server.Say(Line("guess")), "535 5.7.8 Error: authentication failed\r\n");
    EXPECT_FALSE(server.closed());
  }
  server.Say("AUTH LOGIN\r\n");
  EXPECT_EQ(server.Say(Line("guess")),
            "535 5.7.8 Error: authentication failed\r\n"
            "421 4.7.0 mx.example.com Error: too many errors\r\n");
  EXPECT_TRUE(server.closed());
}

}  // namespace
}  // namespace mailrace::transport::smtp
