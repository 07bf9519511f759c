#include "transport/smtp/auth_exchange.h"

#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "gtest/gtest.h"
#include "transport/smtp/base64.h"

namespace mailrace::transport::smtp {
namespace {

using State = AuthExchange::State;

// Answers with `responses` in turn; complete when they are used up.
class FakeMechanism final : public sasl::Client {
 public:
  FakeMechanism(bool client_first, std::deque<std::string> responses)
      : client_first_(client_first), responses_(std::move(responses)) {}
  bool client_first() const override { return client_first_; }
  absl::StatusOr<std::string> Step(std::string_view challenge) override {
    last_challenge = challenge;
    if (responses_.empty()) return absl::InvalidArgumentError("bad nonce");
    std::string response = std::move(responses_.front());
    responses_.pop_front();
    return response;
  }
  bool complete() const override { return responses_.empty(); }
  std::string last_challenge;

 private:
  const bool client_first_;
  std::deque<std::string> responses_;
};

std::string Take(Buffer* out) {
  std::string octets(out->view());
  out->Clear();
  return octets;
}

Reply Challenge(std::string_view octets) { return Reply{334, {EncodeBase64(octets)}}; }
const Reply kSuccess{235, {"2.7.0 ok"}};

TEST(AuthExchange, TheInitialResponseTravelsWithTheCommand) {
  FakeMechanism mechanism(true, {"secret"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  EXPECT_EQ(exchange.Begin(&out), State::kReadReply);
  EXPECT_EQ(Take(&out), "AUTH X c2VjcmV0\r\n");
  EXPECT_EQ(exchange.Answer(kSuccess, &out), State::kSucceeded);
  EXPECT_TRUE(out.empty());
}

// 4954-3.
TEST(AuthExchange, AnEmptyInitialResponseIsAnEqualsSign) {
  FakeMechanism mechanism(true, {""});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  EXPECT_EQ(Take(&out), "AUTH X =\r\n");
}

// the command line with CRLF has at most 512 octets.
TEST(AuthExchange, ALongInitialResponseWaitsForTheEmptyChallenge) {
  for (const auto& [octets, fits] : {std::pair<size_t, bool>{375, true}, {378, false}}) {
    FakeMechanism mechanism(true, {std::string(octets, 'x')});
    AuthExchange exchange("ABCD", "h[ip]", &mechanism);
    Buffer out;
    exchange.Begin(&out);
    const std::string command = Take(&out);
    const std::string response = EncodeBase64(std::string(octets, 'x'));
    if (fits) {
      EXPECT_EQ(command, "AUTH ABCD " + response + "\r\n");
      EXPECT_EQ(command.size(), 512u);
    } else {
      EXPECT_EQ(command, "AUTH ABCD\r\n");
      EXPECT_EQ(exchange.Answer(Reply{334, {""}}, &out), State::kReadReply);
      EXPECT_EQ(Take(&out), response + "\r\n");
    }
    EXPECT_EQ(exchange.Answer(kSuccess, &out), State::kSucceeded);
  }
}

TEST(AuthExchange, ChallengesAndResponsesTakeTurns) {
  FakeMechanism mechanism(false, {"one", ""});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  EXPECT_EQ(Take(&out), "AUTH X\r\n");
  EXPECT_EQ(exchange.Answer(Challenge("first"), &out), State::kReadReply);
  EXPECT_EQ(mechanism.last_challenge, "first");
  EXPECT_EQ(Take(&out), "b25l\r\n");
  EXPECT_EQ(exchange.Answer(Reply{334, {""}}, &out), State::kReadReply);
  EXPECT_EQ(mechanism.last_challenge, "");
  EXPECT_EQ(Take(&out), "\r\n");
  EXPECT_EQ(exchange.Answer(kSuccess, &out), State::kSucceeded);
}

//
TEST(AuthExchange, SuccessBeforeTheMechanismIsCompleteIsAFailure) {
  FakeMechanism mechanism(true, {"one", "two"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  EXPECT_EQ(exchange.Answer(kSuccess, &out), State::kFailed);
  EXPECT_EQ(exchange.failure().kind, Failure::Kind::kSasl);
}

//
TEST(AuthExchange, CancelsWhatTheMechanismRefuses) {
  FakeMechanism mechanism(true, {"one"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  out.Clear();
  EXPECT_EQ(exchange.Answer(Challenge("r=wrong"), &out), State::kReadReply);
  EXPECT_EQ(Take(&out), "*\r\n");
  // Not even a 235 makes it good again.
  EXPECT_EQ(exchange.Answer(kSuccess, &out), State::kFailed);
  EXPECT_EQ(exchange.failure().text,
            "SASL authentication failed; cannot authenticate to server h[ip]: bad nonce");
}

TEST(AuthExchange, CancelsAChallengeOfSeveralLines) {
  FakeMechanism mechanism(false, {"one"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  out.Clear();
  EXPECT_EQ(exchange.Answer(Reply{334, {"YQ==", "YQ=="}}, &out), State::kReadReply);
  EXPECT_EQ(Take(&out), "*\r\n");
}

TEST(AuthExchange, TakesAChallengeOf12288Octets) {
  FakeMechanism mechanism(false, {"one"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  EXPECT_EQ(exchange.Answer(Challenge(std::string(9216, 'x')), &out), State::kReadReply);
  EXPECT_EQ(mechanism.last_challenge.size(), 9216u);
}

TEST(AuthExchange, CancelsTheHundredAndFirstRound) {
  FakeMechanism mechanism(false, std::deque<std::string>(1000, "again"));
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  int rounds = 0;
  out.Clear();
  while (exchange.Answer(Challenge("more"), &out) == State::kReadReply && rounds < 1000) {
    if (Take(&out) == "*\r\n") break;
    ++rounds;
  }
  EXPECT_EQ(rounds, 100);
  EXPECT_EQ(exchange.Answer(Reply{501, {"cancelled"}}, &out), State::kFailed);
  EXPECT_EQ(exchange.failure().text,
            "SASL authentication failed; authentication protocol loop with server h[ip]");
}

TEST(AuthExchange, NoFailureNamesASecret) {
  FakeMechanism mechanism(true, {"secret"});
  AuthExchange exchange("X", "h[ip]", &mechanism);
  Buffer out;
  exchange.Begin(&out);
  EXPECT_EQ(exchange.Answer(Reply{250, {"c2VjcmV0 secret"}}, &out), State::kFailed);
  EXPECT_EQ(exchange.failure().text.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace mailrace::transport::smtp
