// Policy as a loaded configuration gives it to a session.
#include "engine/routing/configured_policy.h"

#include <gmock/gmock.h>

namespace mailrace::engine {
namespace {

std::shared_ptr<const ConfiguredPolicy> PolicyOf(const std::string& text) {
  config::LoadEnvironment environment;
  environment.hostname = "host.example.com";
  environment.check_files = false;
  config::Diagnostics diagnostics;
  auto config = config::LoadConfigText("main.cf", text, "/nonexistent", environment, &diagnostics);
  EXPECT_NE(config, nullptr) << diagnostics.ToString();
  if (config == nullptr) return nullptr;
  auto policy = ConfiguredPolicy::Make(config, &diagnostics);
  EXPECT_NE(policy, nullptr) << diagnostics.ToString();
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

}  // namespace
}  // namespace mailrace::engine
