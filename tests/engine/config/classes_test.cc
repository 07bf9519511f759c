// The parameters of classes and tenants, and their tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config/config.h"
#include "engine/config/message_class.h"
#include "tests/engine/config/temp_directory.h"

namespace mailrace::engine::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ClassesConfigTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Config> Load(std::string_view main_cf) {
    diagnostics_ = {};
    return LoadConfigText("main.cf", main_cf, directory_.path(), environment_, &diagnostics_);
  }
  // The error that `main_cf` is refused with.
  std::string Refusal(std::string_view main_cf) {
    EXPECT_EQ(Load(main_cf), nullptr) << main_cf;
    EXPECT_EQ(diagnostics_.errors(), 1u) << diagnostics_.ToString();
    return diagnostics_.ToString();
  }
  TempDirectory directory_;
  LoadEnvironment environment_{.hostname = "relay.example.net", .processors = 4};
  Diagnostics diagnostics_;
};

TEST_F(ClassesConfigTest, NothingIsConfiguredByDefault) {
  const auto config = Load("");
  ASSERT_NE(config, nullptr);
  EXPECT_EQ(config->options.classes.default_message_class, "normal");
  EXPECT_EQ(config->options.classes.message_class_header, "");
  EXPECT_EQ(config->options.classes.message_tenant_header, "");
  EXPECT_FALSE(config->options.classes.steering_headers_keep);
  EXPECT_TRUE(config->message_classes->empty());
  EXPECT_TRUE(config->message_tenants->empty());
  EXPECT_TRUE(config->tenant_weights->empty());
}

TEST_F(ClassesConfigTest, EverythingTogetherIsAccepted) {
  directory_.Write("tenants", "@acme.example acme\n@bolt.example bolt\n");
  const auto config = Load(
      "submission_listen = 127.0.0.1:2525, 127.0.0.1:2526\n"
      "default_message_class = bulk\n"
      "submission_class_maps = inline:{ 127.0.0.1:2526=urgent, :2525=Normal }\n"
      "submission_tenant_maps = hash:tenants, static:other\n"
      "tenant_weights = inline:{ acme=3, bolt=1000 }\n"
      "message_class_header = X-Mailrace-Class\n"
      "message_tenant_header = X-Mailrace-Tenant\n"
      "steering_headers_keep = yes\n");
  ASSERT_NE(config, nullptr) << diagnostics_.ToString();
  EXPECT_EQ(diagnostics_.ToString(), "");
  EXPECT_EQ((*config->message_tenants->Lookup("@bolt.example"))->value, "bolt");
}

TEST_F(ClassesConfigTest, BadValuesAreNamedWithTheirLine) {
  const std::string file = directory_.Write("classes", "a@b.example urgent\nc@d.example soon\n");
  EXPECT_EQ(Refusal("submission_class_maps = hash:classes\n"),
            file +
                ":2: error: submission_class_maps: c@d.example: \"soon\": expected urgent, "
                "normal or bulk\n");
  EXPECT_EQ(Refusal("\nsubmission_class_maps = inline:{ :2525=immediately }\n"),
            "main.cf:2: error: submission_class_maps: :2525: \"immediately\": expected urgent, "
            "normal or bulk\n");
  EXPECT_EQ(Refusal("submission_class_maps = static:fast\n"),
            "main.cf:1: error: submission_class_maps: \"fast\": expected urgent, normal or "
            "bulk\n");
  EXPECT_THAT(Refusal("submission_tenant_maps = inline:{ { @a.example = two words } }\n"),
              HasSubstr("main.cf:1: error: submission_tenant_maps: @a.example: \"two words\": "
                        "expected a tenant's name"));
  for (const char* weight : {"0", "1001", "-1", "1.5", "much"}) {
    EXPECT_THAT(Refusal(std::string("tenant_weights = inline:{ acme=") + weight + " }\n"),
                HasSubstr("main.cf:1: error: tenant_weights: acme: \"" + std::string(weight) +
                          "\": expected a weight from 1 to 1000"));
  }
  EXPECT_THAT(Refusal("default_message_class = soon\n"), HasSubstr("main.cf:1: error:"));
}

TEST_F(ClassesConfigTest, EveryBadLineOfATableIsReported) {
  directory_.Write("weights", "a 0\nb 1\nc 2000\n");
  EXPECT_EQ(Load("tenant_weights = hash:weights\n"), nullptr);
  EXPECT_EQ(diagnostics_.errors(), 2u);
}

TEST_F(ClassesConfigTest, HeadersMustBeNamesAndNotTheMessagesOwn) {
  EXPECT_THAT(Refusal("message_class_header = X Class\n"),
              HasSubstr("main.cf:1: error: message_class_header: \"X Class\" is not the name of a "
                        "header field"));
  EXPECT_THAT(Refusal("message_class_header = X-Class:\n"), HasSubstr("is not the name"));
  EXPECT_THAT(Refusal("message_tenant_header = subject\n"),
              HasSubstr("Subject belongs to the message"));
  EXPECT_THAT(Refusal("message_class_header = X-Label\nmessage_tenant_header = x-label\n"),
              HasSubstr("main.cf:2: error: message_tenant_header: is the same as "
                        "message_class_header"));
}

TEST_F(ClassesConfigTest, AKeyThatNobodyListensOnIsWarnedOf) {
  ASSERT_NE(Load("submission_class_maps = inline:{ 127.0.0.1:2526=urgent }\n"), nullptr);
  EXPECT_THAT(diagnostics_.ToString(),
              HasSubstr("main.cf:1: warning: submission_class_maps: 127.0.0.1:2526 is no address "
                        "of submission_listen or submission_tls_listen"));
  ASSERT_NE(Load("submission_listen = 0.0.0.0:2525\nmynetworks = 10.0.0.0/8\n"
                 "submission_class_maps = inline:{ 10.0.0.1:2525=urgent, :2525=bulk }\n"),
            nullptr);
  EXPECT_THAT(diagnostics_.ToString(), Not(HasSubstr("is no address")));
}

TEST(MessageClassTest, WordsAndNumbersAreEachOthers) {
  for (uint8_t priority = 0; priority < 3; ++priority) {
    EXPECT_EQ(ParseMessageClass(MessageClassName(priority)), priority);
  }
  EXPECT_EQ(ParseMessageClass("URGENT"), 0);
  EXPECT_EQ(ParseMessageClass(""), std::nullopt);
  EXPECT_EQ(ParseMessageClass("urgent "), std::nullopt);
  EXPECT_EQ(MessageClassName(200), "bulk");
}

}  // namespace
}  // namespace mailrace::engine::config
