// Bearer tokens: what is one, how long it is valid, and how patient we are with commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "engine/tokens/command_output.h"
#include "engine/tokens/token_source.h"
#include "engine/tokens/token_store.h"
#include "tests/engine/config/temp_directory.h"

namespace mailrace::engine::tokens {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// Seconds that a token is valid, or -1.
int64_t Valid(std::string_view output) {
  const absl::StatusOr<Token> token = ParseToken(output, absl::Seconds(300), kNow);
  return token.ok() ? absl::ToInt64Seconds(token->expires - kNow) : -1;
}

TEST(ParseTokenTest, WhatIsOneAndHowLong) {
  EXPECT_EQ(Valid("ya29.token-_~+/=\n"), 300);
  EXPECT_EQ(Valid(R"({"access_token": "abc", "expires_in": 3599, "token_type": "Bearer"})"), 3599);
  EXPECT_EQ(Valid(R"({"access_token": "abc", "expires_in": "3599"})"), 3599);
  EXPECT_EQ(Valid(R"({"access_token": "abc"})"), 300);
  EXPECT_EQ(Valid(R"({"access_token": "abc", "expires_in": -5})"), 300) << "nonsense is not heard";
  // {"exp":1800000060,"sub":"~?"} as base64url: the claims need not be of our alphabet.
  EXPECT_EQ(Valid("eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDAwNjAsInN1YiI6In4_In0.sig"), 60);
  EXPECT_EQ(Valid("eyJhbGciOiJub25lIn0.not-json.sig"), 300);
  EXPECT_EQ(Valid("a.b"), 300);
  for (const std::string bad : {"", " \n", "two words", "{}", "{\"access_token\": 5}",
                                "{\"access_token\": \"a b\"}", "{broken",
                                "a\x01"
                                "b",
                                "{\"error\": \"invalid_grant\"}"}) {
    EXPECT_EQ(Valid(bad), -1) << bad;
  }
  EXPECT_EQ(Valid(std::string(kTokenOctetsMax + 1, 'x')), -1);
}

TEST(ParseTokenTest, ErrorsNeverQuoteWhatMayBeASecret) {
  const auto token = ParseToken("secret but broken", absl::Seconds(1), kNow);
  EXPECT_THAT(std::string(token.status().message()), Not(HasSubstr("secret")));
}

class CommandTest : public testing::Test {
 protected:
  std::string Script(const std::string& body) {
    const std::string path = directory_.Write("script", "#!/bin/sh\n" + body + "\n", 0700);
    return path;
  }
  static std::string Run(const std::string& command, absl::Duration timeout = absl::Seconds(60),
                         const std::function<bool()>& stop = nullptr) {
    const auto output = CommandOutput(command, 1000, timeout, stop);
    return output.ok() ? *output : "error: " + std::string(output.status().message());
  }
  TempDirectory directory_;
};

TEST_F(CommandTest, GivesWhatItPrints) {
  EXPECT_EQ(Run(Script("printf '%s-%s' \"$1\" \"$2\"; cat") + "  one   two"), "one-two");
}

TEST_F(CommandTest, NoShellLooksAtIts) {
  EXPECT_EQ(Run(Script("printf '%s' \"$1\"") + " $(id);ls"), "$(id);ls");
}

TEST_F(CommandTest, FailuresHaveReasons) {
  EXPECT_EQ(Run("/nonexistent/x"), "error: /nonexistent/x: No such file or directory");
  EXPECT_THAT(Run(Script("echo secret; exit 3")), HasSubstr("script: it ended with status 3"));
  EXPECT_THAT(Run(Script("kill -9 $$")), HasSubstr("it was ended by signal 9"));
  EXPECT_THAT(Run(Script("head -c 2000 /dev/zero")), HasSubstr("it printed too much"));
}

TEST_F(CommandTest, WhoHangsIsKilledWithItsChildren) {
  EXPECT_THAT(Run(Script("sleep 1000 & sleep 1000"), absl::Milliseconds(50)),
              HasSubstr("it took too long"));
  EXPECT_THAT(Run(Script("exec >/dev/null; sleep 1000"), absl::Milliseconds(50)),
              HasSubstr("it took too long"));
  EXPECT_THAT(Run(Script("sleep 1000"), absl::Hours(1), [] { return true; }),
              HasSubstr("shutting down"));
}

class StoreTest : public testing::Test {
 protected:
  std::string Get(const std::string& source, std::string_view refused = "") {
    const auto token = store_.Get({source, absl::Seconds(300), absl::Seconds(1)}, refused);
    return token.ok() ? *token : "error";
  }
  struct TestClock final : Clock {
    MonoTime Mono() const override { return MonoTime(); }
    absl::Time Wall() const override { return now; }
    absl::Time now = kNow;
  };
  TestClock clock_;
  std::vector<std::string> fetched_;
  absl::StatusOr<Token> next_ = Token{"first", kNow + absl::Seconds(1000)};
  TokenStore store_{&clock_, [this](const TokenSpec& spec, absl::Time) {
                      fetched_.push_back(spec.source);
                      return next_;
                    }};
};

TEST_F(StoreTest, ATokenIsFetchedOnceUntilItsEndIsNear) {
  EXPECT_EQ(Get("a"), "first");
  EXPECT_EQ(Get("a"), "first");
  EXPECT_THAT(fetched_, ElementsAre("a"));
  EXPECT_EQ(Get("b"), "first");
  next_ = Token{"second", kNow + absl::Seconds(5000)};
  clock_.now = kNow + absl::Seconds(939);
  EXPECT_EQ(Get("a"), "first");
  clock_.now = kNow + absl::Seconds(940);  // A minute before.
  EXPECT_EQ(Get("a"), "second");
  EXPECT_THAT(fetched_, ElementsAre("a", "b", "a"));
}

TEST_F(StoreTest, ARefusedOneIsNotGivenAgain) {
  EXPECT_EQ(Get("a"), "first");
  next_ = Token{"second", kNow + absl::Seconds(1000)};
  EXPECT_EQ(Get("a", "first"), "second");
  EXPECT_EQ(Get("a", "first"), "second") << "another session was refused the old one too";
  EXPECT_EQ(fetched_.size(), 2u);
}

TEST_F(StoreTest, WhileTheSourceIsBrokenTheOldOneServesToItsEnd) {
  EXPECT_EQ(Get("a"), "first");
  next_ = absl::UnavailableError("x");
  clock_.now = kNow + absl::Seconds(999);
  EXPECT_EQ(Get("a"), "first");
  EXPECT_EQ(Get("a", "first"), "error") << "but not if it is refused";
  clock_.now = kNow + absl::Seconds(1000);
  EXPECT_EQ(Get("a"), "error");
}

TEST_F(StoreTest, OneThatHasEndedIsNone) {
  next_ = Token{"late", kNow};
  EXPECT_EQ(Get("a"), "error");
}

TEST(FetchTokenTest, FromAFile) {
  TempDirectory directory;
  const std::string path = directory.Write("token", "from-file\n");
  const TokenSpec spec{"file:" + path, absl::Seconds(7), absl::Seconds(1)};
  const auto token = FetchToken(spec, kNow, nullptr);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->text, "from-file");
  EXPECT_EQ(token->expires, kNow + absl::Seconds(7));
  EXPECT_FALSE(FetchToken({"file:/nonexistent/token", {}, {}}, kNow, nullptr).ok());
}

}  // namespace
}  // namespace mailrace::engine::tokens
