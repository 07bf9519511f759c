// A client logs in to submit: who may, what the log and the envelope say of it.

#include <string>

#include "gmock/gmock.h"
#include "tests/engine/intake/intake_fixture.h"
#include "transport/smtp/base64.h"

namespace mailrace::engine {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::shared_ptr<const tables::TableList> Table(std::string_view spec, std::string delimiter) {
  config::Diagnostics diagnostics;
  auto list = tables::TableList::Load(
      spec, {.parameter = "test", .credentials = true, .delimiter = std::move(delimiter)},
      &diagnostics);
  EXPECT_NE(list, nullptr) << diagnostics.ToString();
  return list;
}

std::string Plain(std::string_view user, std::string_view password, std::string_view act_as = "") {
  std::string response(act_as);
  response += '\0';
  response += user;
  response += '\0';
  response += password;
  return "AUTH PLAIN " + transport::smtp::EncodeBase64(response) + "\r\n";
}

class SubmissionAuthTest : public IntakeFixture {
 protected:
  SubmissionAuthTest() {
    options_.mynetworks = *config::NetworkList::Parse("192.0.2.0/24");
    options_.passwords = Table("inline:{ shop=swordfish, other=other-pass }", "");
    options_.auth_mechanisms = {"CRAM-MD5", "PLAIN", "LOGIN"};
  }
  // A refusal is delayed.
  std::string Tried(const std::string& octets) {
    std::string heard = Say(octets);
    Pass(absl::Seconds(2));
    return heard + Heard();
  }
};

TEST_F(SubmissionAuthTest, WhoIsNeitherNearNorLoggedInMaySubmitNothing) {
  Connect();
  EXPECT_THAT(Say("EHLO client.example.com\r\n"), HasSubstr("AUTH CRAM-MD5 PLAIN LOGIN\r\n"));
  EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"), "530 5.7.0 Error: authentication required\r\n");
}

TEST_F(SubmissionAuthTest, WhoCouldLogInInsideTlsIsToldSo) {
  options_.auth_mechanisms_tls = std::exchange(options_.auth_mechanisms, {});
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"),
            "530 5.7.0 Must issue a STARTTLS command first\r\n");
}

TEST_F(SubmissionAuthTest, ALoginAdmitsAndNamesTheSubmitter) {
  options_.rules.tenants = Table("inline:{ shop=acme }", "");
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_EQ(Say(Plain("shop", "swordfish")), "235 2.7.0 Authentication successful\r\n");
  Say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
  Say("Subject: s\r\n\r\nhi\r\n.\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  EXPECT_EQ(acceptor_.accepted[0].envelope.submitter, "shop");
  EXPECT_EQ(acceptor_.accepted[0].envelope.tenant, "acme");
  EXPECT_THAT(acceptor_.accepted[0].content, HasSubstr(" with ESMTPA id "));
  EXPECT_THAT(acceptor_.accepted[0].content, Not(HasSubstr("shop")));
  EXPECT_TRUE(
      log_.Has("smtpd: 00ABC0000000001: client=localhost[127.0.0.1], "
               "sasl_method=PLAIN, sasl_username=shop"));
}

TEST_F(SubmissionAuthTest, TheReceivedFieldNamesTheUserIfItShall) {
  options_.smtpd_sasl_authenticated_header = true;
  Connect();
  Say("EHLO client.example.com\r\n");
  Say(Plain("shop", "swordfish"));
  Say("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n");
  Say("Subject: s\r\n\r\nhi\r\n.\r\n");
  ASSERT_THAT(acceptor_.accepted, SizeIs(1));
  EXPECT_THAT(acceptor_.accepted[0].content,
              HasSubstr("(localhost [127.0.0.1])\r\n\t(Authenticated sender: shop)\r\n\tby "));
}

TEST_F(SubmissionAuthTest, LoginIsAskedForUserAndPassword) {
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_EQ(Say("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
  EXPECT_EQ(Say(transport::smtp::EncodeBase64("shop") + "\r\n"), "334 UGFzc3dvcmQ6\r\n");
  EXPECT_EQ(Say(transport::smtp::EncodeBase64("swordfish") + "\r\n"),
            "235 2.7.0 Authentication successful\r\n");
}

TEST_F(SubmissionAuthTest, WrongPasswordsUnknownUsersAndOthersNamesAreAllTheSame) {
  const std::string kTries[] = {Plain("shop", "wrong"),
                                Plain("nobody", "swordfish"),
                                Plain("shop", "other-pass"),
                                Plain("shop", ""),
                                Plain("shop", "swordfish", "other"),
                                "AUTH PLAIN " + transport::smtp::EncodeBase64("x") + "\r\n"};
  for (const std::string& attempt : kTries) {
    Connect();
    Say("EHLO client.example.com\r\n");
    EXPECT_EQ(Tried(attempt), "535 5.7.8 Error: authentication failed\r\n") << attempt;
    EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"), "530 5.7.0 Error: authentication required\r\n");
    HangUp();
  }
  EXPECT_THAT(log_.lines, Contains("smtpd: localhost[127.0.0.1]: SASL PLAIN authentication failed: "
                                   "authentication failure, sasl_username=shop"));
  EXPECT_THAT(log_.lines, Each(AllOf(Not(HasSubstr("wrong")), Not(HasSubstr("swordfish")))));
}

TEST_F(SubmissionAuthTest, ARefusalIsNotHurried) {
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_EQ(Say(Plain("shop", "wrong")), "");
  Pass(absl::Milliseconds(900));
  EXPECT_EQ(Heard(), "");
  Pass(absl::Milliseconds(200));
  EXPECT_EQ(Heard(), "535 5.7.8 Error: authentication failed\r\n");
}

TEST_F(SubmissionAuthTest, WhoIsNearNeedsNoLogin) {
  options_.mynetworks = *config::NetworkList::Parse("127.0.0.0/8");
  Connect();
  Say("EHLO client.example.com\r\n");
  EXPECT_EQ(Say("MAIL FROM:<a@example.com>\r\n"), "250 2.1.0 Ok\r\n");
}

}  // namespace
}  // namespace mailrace::engine
