#include "engine/routing/sasl_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/tables/memory_table.h"

namespace mailrace::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class BrokenTable final : public tables::LookupTable {
 public:
  absl::StatusOr<std::optional<tables::TableHit>> Lookup(std::string_view) const override {
    return absl::UnavailableError("table");
  }
  const std::string& name() const override { return name_; }
  void ForEach(const std::function<void(std::string_view, std::string_view)>&) const override {}

 private:
  std::string name_ = "broken:";
};

class SaslPolicyTest : public ::testing::Test {
 protected:
  SaslPolicyTest() {
    options_.smtp_sasl_auth_enable = true;
    options_.smtp_sasl_password_result_delimiter = ":";
    general_.myhostname = "app.example.com";
    general_.myorigin = "example.com";
  }
  void Passwords(std::vector<std::pair<std::string, std::string>> entries) {
    auto table = std::make_shared<tables::MemoryTable>("hash:/saslpw", "/saslpw");
    int line = 0;
    for (const auto& [key, value] : entries) table->Add(key, value, ++line);
    passwords_ = tables::TableList({table});
  }
  CredentialResult Find(std::string_view sender = "") {
    return FindCredentials(options_, general_, passwords_, tokens_,
                           {sender, "relay.example.net", "[relay.example.net]:587"});
  }
  // "user/password", or "-".
  std::string Login(std::string_view sender = "") {
    const CredentialResult result = Find(sender);
    if (!result.credentials) return "-";
    return result.credentials->user + "/" + result.credentials->password;
  }

  config::SaslOptions options_;
  config::GeneralOptions general_;
  tables::TableList passwords_{{}};
  tables::TableList tokens_{{}};
};

TEST_F(SaslPolicyTest, HostNameBeatsNexthopAsWritten) {
  Passwords({{"[relay.example.net]:587", "nexthop:p"}, {"relay.example.net", "host:p"}});
  EXPECT_EQ(Login(), "host/p");
  EXPECT_EQ(Find().decided_by, "/saslpw:2");
  EXPECT_EQ(Find().key, "relay.example.net");
  Passwords({{"[relay.example.net]:587", "nexthop:p"}});
  EXPECT_EQ(Login(), "nexthop/p");
}

TEST_F(SaslPolicyTest, OtherFormsAreNotLookedUp) {
  Passwords({{"relay.example.net:587", "a:b"},
             {"[relay.example.net]", "a:b"},
             {".example.net", "a:b"},
             {"example.net", "a:b"}});
  EXPECT_EQ(Login(), "-");
  EXPECT_FALSE(Find().failed) << "goes on without a login";
}

TEST_F(SaslPolicyTest, TheSenderComesFirstOnlyWhenAskedFor) {
  Passwords({{"user@example.org", "sender:p"}, {"relay.example.net", "host:p"}});
  EXPECT_EQ(Login("user@example.org"), "host/p");
  options_.smtp_sender_dependent_authentication = true;
  EXPECT_EQ(Login("User@Example.ORG"), "sender/p");
  EXPECT_TRUE(Find("user@example.org").by_sender);
  EXPECT_EQ(Login("other@example.org"), "host/p");
  EXPECT_FALSE(Find("other@example.org").by_sender);
  EXPECT_EQ(Login(""), "host/p") << "bounces have no sender";
}

TEST_F(SaslPolicyTest, FormsOfASenderFromTheMostSpecific) {
  options_.smtp_sender_dependent_authentication = true;
  general_.recipient_delimiter = "+";
  std::vector<std::pair<std::string, std::string>> entries = {{"user+ext@example.com", "1:p"},
                                                              {"user@example.com", "2:p"},
                                                              {"user+ext", "3:p"},
                                                              {"user", "4:p"},
                                                              {"@example.com", "5:p"},
                                                              {"relay.example.net", "6:p"}};
  for (int expected = 1; expected <= 6; ++expected) {
    Passwords(entries);
    EXPECT_EQ(Login("user+ext@example.com"), std::to_string(expected) + "/p");
    entries.erase(entries.begin());
  }
  Passwords({{"user", "local:p"}});
  EXPECT_EQ(Login("user@elsewhere.example"), "-") << "bare local parts are for local domains";
}

TEST_F(SaslPolicyTest, ValuesAreSplitAtTheFirstDelimiter) {
  Passwords({{"relay.example.net", "user:p:a:ss"}});
  EXPECT_EQ(Login(), "user/p:a:ss");
  Passwords({{"relay.example.net", "user"}});
  EXPECT_EQ(Login(), "user/") << "no delimiter: empty password";
  options_.smtp_sasl_password_result_delimiter = "::";
  Passwords({{"relay.example.net", "us:er::p::q"}});
  EXPECT_EQ(Login(), "us:er/p::q");
}

TEST_F(SaslPolicyTest, WithoutTheSwitchThereIsNoLogin) {
  options_.smtp_sasl_auth_enable = false;
  Passwords({{"relay.example.net", "a:b"}});
  EXPECT_EQ(Login(), "-");
}

TEST_F(SaslPolicyTest, ATableThatCannotAnswerDefers) {
  passwords_ = tables::TableList({std::make_shared<BrokenTable>()});
  const CredentialResult result = Find();
  EXPECT_TRUE(result.failed);
  EXPECT_EQ(result.status.ToString() + " " + result.reason, "4.3.0 Temporary lookup error");
  EXPECT_FALSE(result.credentials);
}

TEST_F(SaslPolicyTest, StepsSayTheUserNeverThePassword) {
  Passwords({{"[relay.example.net]:587", "myid:secretpw"}});
  const CredentialResult result = Find();
  EXPECT_THAT(result.steps, ElementsAre("relay.example.net: no entry",
                                        "[relay.example.net]:587: user \"myid\" by /saslpw:1"));
  EXPECT_THAT(result.steps, Not(Contains(HasSubstr("secretpw"))));
}

TEST_F(SaslPolicyTest, OptionsDependOnTheConnection) {
  options_.smtp_sasl_security_options = {"noplaintext", "noanonymous"};
  options_.smtp_sasl_tls_security_options = {"noanonymous", "mutual_auth"};
  options_.smtp_sasl_tls_verified_security_options = {"noactive", "nodictionary",
                                                      "forward_secrecy"};
  SecurityOptionsChoice choice = ChooseSecurityOptions(options_, ConnectionSecurity::kClear);
  EXPECT_EQ(choice.options,
            (transport::sasl::SecurityOptions{.noplaintext = true, .noanonymous = true}));
  EXPECT_EQ(choice.parameter, "smtp_sasl_security_options");
  choice = ChooseSecurityOptions(options_, ConnectionSecurity::kTls);
  EXPECT_EQ(choice.options,
            (transport::sasl::SecurityOptions{.noanonymous = true, .mutual_auth = true}));
  EXPECT_EQ(choice.parameter, "smtp_sasl_tls_security_options");
  choice = ChooseSecurityOptions(options_, ConnectionSecurity::kTlsMatched);
  EXPECT_EQ(choice.options, (transport::sasl::SecurityOptions{
                                .noactive = true, .nodictionary = true, .forward_secrecy = true}));
  EXPECT_EQ(choice.parameter, "smtp_sasl_tls_verified_security_options");
}

TEST_F(SaslPolicyTest, TheFilterCutsTheServersListDown) {
  const std::vector<std::string> offered = {"GSSAPI", "PLAIN", "LOGIN", "CRAM-MD5"};
  EXPECT_EQ(FilterMechanisms(offered, {}), offered);
  EXPECT_THAT(FilterMechanisms(offered, {"plain", "login"}), ElementsAre("PLAIN", "LOGIN"));
  EXPECT_THAT(FilterMechanisms(offered, {"!gssapi", "!login", "static:rest"}),
              ElementsAre("PLAIN", "CRAM-MD5"));
  EXPECT_THAT(FilterMechanisms(offered, {"!plain"}), IsEmpty()) << "nothing else is admitted";
  EXPECT_THAT(FilterMechanisms(offered, {"EXTERNAL"}), IsEmpty());
}

}  // namespace
}  // namespace mailrace::engine
