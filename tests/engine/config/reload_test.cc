// What a reload may change and what it may not.
#include "engine/config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config/parameter.h"
#include "tests/engine/config/temp_directory.h"

namespace mailrace::engine::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ReloadTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Config> Load(std::string_view main_cf) {
    return LoadConfigText("main.cf", main_cf, directory_.path(), environment_, &diagnostics_);
  }
  std::shared_ptr<const Config> Reload(const Config& running, std::string_view main_cf) {
    const auto fresh = Load(main_cf);
    EXPECT_NE(fresh, nullptr);
    return KeepStartParameters(running, *fresh, &diagnostics_);
  }

  TempDirectory directory_;
  LoadEnvironment environment_{.hostname = "relay.example.net", .processors = 4};
  Diagnostics diagnostics_;
};

TEST_F(ReloadTest, WhatReloadsIsTakenOverWithoutAWord) {
  const auto running = Load("relayhost = [a.example]\n");
  const auto config = Reload(*running, "relayhost = [b.example]\nshutdown_grace_time = 5s\n");
  EXPECT_EQ(config->options.smtp.relayhost.front().text, "[b.example]");
  EXPECT_EQ(config->options.general.shutdown_grace_time, absl::Seconds(5));
  EXPECT_EQ(diagnostics_.ToString(), "");
}

TEST_F(ReloadTest, WhatNeedsARestartStaysAndIsSaidWithItsPlaceAndBothValues) {
  const auto running = Load("submission_listen = 127.0.0.1:2525\n");
  const auto config = Reload(*running, "\nsubmission_listen = 127.0.0.1:2526\n");
  EXPECT_THAT(config->options.submission.submission_listen,
              ElementsAre(running->options.submission.submission_listen.front()));
  EXPECT_THAT(diagnostics_.ToString(),
              AllOf(HasSubstr("main.cf:2"), HasSubstr("submission_listen"),
                    HasSubstr("\"127.0.0.1:2526\" takes effect at the next start"),
                    HasSubstr("until then it is \"127.0.0.1:2525\"")));
}

TEST_F(ReloadTest, TheNumberOfShardsStaysAlsoWhereTheMachineDecidedIt) {
  const auto running = Load("");
  EXPECT_EQ(Reload(*running, "engine_shards = 2\n")->options.general.engine_shards, 3);
  environment_.processors = 8;
  EXPECT_EQ(Reload(*running, "")->options.general.engine_shards, 3);
}

TEST_F(ReloadTest, ManyReloadsLaterItIsStillWhatTheProcessStartedWith) {
  auto config = Load("queue_directory = /a\n");
  for (const char* text : {"queue_directory = /b\n", "queue_directory = /c\n"}) {
    config = Reload(*config, text);
    EXPECT_EQ(config->options.general.queue_directory, "/a");
  }
  diagnostics_ = {};
  Reload(*config, "queue_directory = /a\n");
  EXPECT_EQ(diagnostics_.ToString(), "");
}

TEST_F(ReloadTest, EveryStartOnlyParameterCanBeKept) {
  const auto running = Load("");
  for (const ParameterGroup& group : ParameterGroups()) {
    for (const Parameter& parameter : group.parameters) {
      if (parameter.reloadable) continue;
      const auto found = running->settings.find(parameter.name);
      ASSERT_NE(found, running->settings.end()) << parameter.name;
      Options options;
      EXPECT_TRUE(parameter.Set(found->second.value, &options).ok()) << parameter.name;
    }
  }
}

}  // namespace
}  // namespace mailrace::engine::config
