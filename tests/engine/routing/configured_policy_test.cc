// Policy as a loaded configuration gives it to a session.
#include "engine/routing/configured_policy.h"

#include <gmock/gmock.h>

namespace mailrace::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::shared_ptr<const ConfiguredPolicy> PolicyOf(const std::string& text,
                                                 std::string* messages = nullptr) {
  config::LoadEnvironment environment;
  environment.hostname = "host.example.com";
  environment.check_files = false;
  config::Diagnostics diagnostics;
  auto config = config::LoadConfigText("main.cf", text, "/nonexistent", environment, &diagnostics);
  EXPECT_NE(config, nullptr) << diagnostics.ToString();
  if (config == nullptr) return nullptr;
  auto policy = ConfiguredPolicy::Make(config, &diagnostics);
  EXPECT_NE(policy, nullptr) << diagnostics.ToString();
  if (messages != nullptr) *messages = diagnostics.ToString();
  return policy;
}

TEST(ConfiguredPolicy, ATableCannotTakeTlsFromAnImplicitTlsHop) {
  for (const std::string word : {"NONE", "MAY"}) {
    const auto policy = PolicyOf(
        "relayhost = [smtp.example.net]:465\n"
        "smtp_tls_wrappermode = yes\n"
        "smtp_tls_per_site = inline:{ {smtp.example.net = " +
        word + "} }\n");
    ASSERT_NE(policy, nullptr);
    const auto answer = policy->TlsFor("[smtp.example.net]:465", "smtp.example.net");
    ASSERT_TRUE(answer.trouble.has_value()) << word;
    EXPECT_EQ(answer.trouble->status, (EnhancedStatus{4, 7, 5}));
  }
}

TEST(ConfiguredPolicy, EveryLevelAboveNoneHasItsContext) {
  for (const std::string word : {"MAY", "MUST_NOPEERMATCH", "MUST"}) {
    const auto policy =
        PolicyOf("smtp_tls_per_site = inline:{ {smtp.example.net = " + word + "} }\n");
    ASSERT_NE(policy, nullptr);
    const auto answer = policy->TlsFor("smtp.example.net", "smtp.example.net");
    EXPECT_FALSE(answer.trouble.has_value());
    EXPECT_NE(answer.tls.context, nullptr) << word;
  }
}

TEST(ConfiguredPolicy, AnEntryThatWouldDeferMailIsSaidBeforeThereIsAny) {
  std::string messages;
  PolicyOf(
      "smtp_tls_policy_maps = inline:{ {good.example = encrypt}, {typo.example = encript}, "
      "{.sub.example = secure match=}, {[h.example]:587 = may foo=bar}, "
      "{bare.example = fingerprint}, {dane.example = dane} }\n",
      &messages);
  EXPECT_THAT(messages,
              AllOf(HasSubstr("main.cf:1: warning: smtp_tls_policy_maps"),
                    HasSubstr("invalid security level \"encript\""),
                    HasSubstr("attribute \"match\" has empty value"),
                    HasSubstr("invalid attribute name: \"foo\""), HasSubstr("bare.example"),
                    HasSubstr("dane.example"), HasSubstr("mail for it would be deferred")));
  EXPECT_THAT(messages, Not(HasSubstr("good.example")));
}

TEST(ConfiguredPolicy, ARelayhostWithoutAPasswordIsSaidWithTheKeyThatWasMeant) {
  const std::string login =
      "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = "
      "inline:{ {smtp.example.net:587 = user:secret} }\n";
  std::string messages;
  PolicyOf(login + "relayhost = [smtp.example.net]:587, [other.example.net]\n", &messages);
  EXPECT_THAT(messages,
              AllOf(HasSubstr("main.cf:3: warning: relayhost: smtp_sasl_password_maps has "
                              "no entry for [smtp.example.net]:587"),
                    HasSubstr("the key smtp.example.net:587 is not the same"),
                    HasSubstr("no entry for [other.example.net]: mail goes there without "
                              "a login"),
                    Not(HasSubstr("secret"))));
  // By MX the key may be the name of a server that nobody has asked DNS for yet.
  PolicyOf(login + "relayhost = example.com\n", &messages);
  EXPECT_THAT(messages, Not(HasSubstr("no entry")));
  for (const std::string fine :
       {"relayhost = smtp.example.net:587\n",
        "relayhost = [smtp.example.net]\nsmtp_sender_dependent_authentication = yes\n"}) {
    PolicyOf(login + fine, &messages);
    EXPECT_THAT(messages, Not(HasSubstr("no entry"))) << fine;
  }
}

}  // namespace
}  // namespace mailrace::engine
