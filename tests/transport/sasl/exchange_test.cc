// Whole exchanges: against the standards' vectors where the client chooses nothing, and
// against our own server, honest or not.
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/sasl/client.h"

namespace mailrace::transport::sasl {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using State = Server::Outcome::State;

std::unique_ptr<Client> Start(std::string_view mechanism, const Credentials& credentials,
                              std::string_view binding = "") {
  absl::StatusOr<std::unique_ptr<Client>> client =
      Client::Start(mechanism, credentials, "mail.ex.test", binding);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

std::optional<std::string> Passwords(std::string_view user) {
  if (user == "user") return "pencil";
  if (user == "blank") return "";
  if (user == "j\xc3\xb6rg") return "p\xc3\xa4ss, w=rd";
  return std::nullopt;
}

std::unique_ptr<Server> Serve(std::string_view mechanism) {
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(mechanism, "mail.ex.test", Passwords);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

// What a man in the middle does to the server's messages.
using Tamper = std::function<std::string(std::string)>;

struct Result {
  bool server_success = false;
  bool client_complete = false;
  absl::Status client_status;
  std::string user;
};

// As SMTP carries it: a success with data is a last challenge, answered by nothing.
Result Exchange(std::string_view mechanism, const Credentials& credentials,
                const Tamper& tamper = {}) {
  std::unique_ptr<Client> client = Start(mechanism, credentials);
  std::unique_ptr<Server> server = Serve(mechanism);
  Result result;
  std::string response;
  if (client->client_first()) {
    const auto first = client->Step("");
    EXPECT_TRUE(first.ok()) << first.status();
    response = *first;
  }
  for (int round = 0; round < 10; ++round) {
    Server::Outcome outcome = server->Step(response);
    if (outcome.state == State::kFailure) break;
    result.server_success = outcome.state == State::kSuccess;
    if (!result.server_success || !outcome.challenge.empty()) {
      if (tamper) outcome.challenge = tamper(outcome.challenge);
      const auto answer = client->Step(outcome.challenge);
      result.client_status = answer.status();
      if (!answer.ok()) break;
      response = *answer;
    }
    if (result.server_success) break;
  }
  result.client_complete = client->complete();
  if (result.server_success) result.user = server->user();
  return result;
}

TEST(Vectors, PlainOfRfc4616) {
  std::unique_ptr<Client> client = Start("PLAIN", {"tim", "tanstaaftanstaaf"});
  EXPECT_TRUE(client->client_first());
  EXPECT_FALSE(client->complete());
  EXPECT_EQ(client->Step("").value(), std::string("\0tim\0tanstaaftanstaaf", 21));
  EXPECT_TRUE(client->complete());
}

TEST(Vectors, CramMd5OfRfc2195) {
  std::unique_ptr<Client> client = Start("CRAM-MD5", {"tim", "tanstaaftanstaaf"});
  EXPECT_FALSE(client->client_first());
  EXPECT_EQ(client->Step("<1896.697170952@postoffice.reston.mci.net>").value(),
            "tim b913a602c7eda7a495b4e6e7334d3890");
  EXPECT_TRUE(client->complete());
}

TEST(Vectors, LoginAnswersWhateverThePromptsAre) {
  for (const auto& [first, second] : {std::pair("Username:", "Password:"),
                                      std::pair("User Name", "Password"), std::pair("", "")}) {
    std::unique_ptr<Client> client = Start("LOGIN", {"user", "pencil"});
    EXPECT_FALSE(client->client_first());
    EXPECT_EQ(client->Step(first).value(), "user");
    EXPECT_FALSE(client->complete());
    EXPECT_EQ(client->Step(second).value(), "pencil");
    EXPECT_TRUE(client->complete());
  }
}

TEST(Vectors, ScramClientFirst) {
  std::unique_ptr<Client> client = Start("SCRAM-SHA-256", {"us,e=r", "pencil"});
  EXPECT_TRUE(client->client_first());
  EXPECT_THAT(client->Step("").value(), StartsWith("n,,n=us=2Ce=3Dr,r="));
}

class Mechanisms : public testing::TestWithParam<std::string> {};

TEST_P(Mechanisms, TheRightPasswordPasses) {
  const Result result = Exchange(GetParam(), {"user", "pencil"});
  EXPECT_TRUE(result.server_success);
  EXPECT_TRUE(result.client_complete);
  EXPECT_EQ(result.user, "user");
}

TEST_P(Mechanisms, OctetsBeyondAsciiAndSeparatorsPass) {
  EXPECT_TRUE(Exchange(GetParam(), {"j\xc3\xb6rg", "p\xc3\xa4ss, w=rd"}).server_success);
}

TEST_P(Mechanisms, OthersFail) {
  EXPECT_FALSE(Exchange(GetParam(), {"user", "pencils"}).server_success);
  EXPECT_FALSE(Exchange(GetParam(), {"user", "penci"}).server_success);
  EXPECT_FALSE(Exchange(GetParam(), {"User", "pencil"}).server_success);
  EXPECT_FALSE(Exchange(GetParam(), {"nobody", "pencil"}).server_success);
  EXPECT_FALSE(Exchange(GetParam(), {"nobody", "unknown"}).server_success);
  EXPECT_FALSE(Exchange(GetParam(), {"blank", "x"}).server_success);
}

TEST_P(Mechanisms, GarbageEndsTheServersExchange) {
  for (const std::string& garbage : {std::string(20'000, 'x'), std::string("\0\0\0", 3),
                                     std::string("\xff\xfe\x00garbage", 10)}) {
    std::unique_ptr<Server> server = Serve(GetParam());
    Server::Outcome outcome = server->Step(garbage);
    for (int round = 0; round < 5 && outcome.state == State::kChallenge; ++round) {
      outcome = server->Step(garbage);
    }
    EXPECT_EQ(outcome.state, State::kFailure);
    EXPECT_EQ(server->Step("again").state, State::kFailure);
  }
}

TEST_P(Mechanisms, AnEndlessExchangeIsRefused) {
  std::unique_ptr<Client> client = Start(GetParam(), {"user", "pencil"});
  int answered = 0;
  while (client->Step(answered == 0 ? "" : "challenge").ok() && answered < 20) ++answered;
  EXPECT_LT(answered, 4);
  EXPECT_FALSE(client->Step("").ok());
}

TEST_P(Mechanisms, AnOversizedChallengeIsRefused) {
  std::unique_ptr<Client> client = Start(GetParam(), {"user", "pencil"});
  EXPECT_FALSE(client->Step(std::string(12'289, 'x')).ok());
}

INSTANTIATE_TEST_SUITE_P(All, Mechanisms, testing::ValuesIn(Server::Mechanisms()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

class Scram : public testing::TestWithParam<const char*> {};

TEST_P(Scram, A04ALyingServerIsCaught) {
  const auto status = [](const Tamper& tamper) {
    const Result result = Exchange(GetParam(), {"user", "pencil"}, tamper);
    EXPECT_FALSE(result.client_complete);
    return std::string(result.client_status.message());
  };
  const auto replacing = [](std::string what, std::string with) -> Tamper {
    return [what, with](std::string message) {
      const size_t at = message.find(what);
      if (at != message.npos) message.replace(at, what.size(), with);
      return message;
    };
  };
  EXPECT_THAT(status(replacing("r=", "r=x")), HasSubstr("nonce"));
  EXPECT_THAT(status(replacing("i=4096", "i=1")), HasSubstr("iteration count 1 "));
  EXPECT_THAT(status(replacing("i=4096", "i=1000000000")), HasSubstr("iteration count"));
  EXPECT_THAT(status(replacing("r=", "m=x,r=")), HasSubstr("mandatory extension"));
  EXPECT_NE(status(replacing("v=", "v=AAAA")), "");
  EXPECT_NE(status([](std::string message) {
              return message.starts_with("v=") ? std::string("e=other-error") : message;
            }),
            "");
  EXPECT_NE(status([](std::string message) {
              return message.starts_with("v=") ? std::string() : message;
            }),
            "");
}

TEST_P(Scram, A05NotCompleteBeforeTheServersProof) {
  std::unique_ptr<Client> client = Start(GetParam(), {"user", "pencil"});
  std::unique_ptr<Server> server = Serve(GetParam());
  const std::string first = *client->Step("");
  EXPECT_FALSE(client->complete());
  const std::string last = *client->Step(server->Step(first).challenge);
  EXPECT_FALSE(client->complete()) << "a 235 now would be unproved";
  const Server::Outcome outcome = server->Step(last);
  EXPECT_EQ(outcome.state, State::kSuccess);
  EXPECT_THAT(outcome.challenge, StartsWith("v="));
  EXPECT_EQ(client->Step(outcome.challenge).value(), "");
  EXPECT_TRUE(client->complete());
}

TEST_P(Scram, AnUnknownUserIsNotToldFromAWrongPassword) {
  std::unique_ptr<Client> client = Start(GetParam(), {"nobody", "pencil"});
  std::unique_ptr<Server> server = Serve(GetParam());
  const Server::Outcome outcome = server->Step(*client->Step(""));
  EXPECT_EQ(outcome.state, State::kChallenge);
  EXPECT_THAT(outcome.challenge, HasSubstr(",i=4096"));
}

TEST_P(Scram, PlusBindsToTheChannel) {
  const std::string plus = std::string(GetParam()) + "-PLUS";
  EXPECT_THAT(Start(plus, {"user", "pencil"}, "tls-exporter:0123456789abcdef")->Step("").value(),
              StartsWith("p=tls-exporter,,n=user,r="));
  EXPECT_THAT(Start(plus, {"user", "pencil"}, "tls-unique:012345678912")->Step("").value(),
              StartsWith("p=tls-unique,,n=user,r="));
  EXPECT_FALSE(Client::Start(plus, {"user", "pencil"}, "mail.ex.test", "").ok());
  EXPECT_FALSE(Client::Start(plus, {"user", "pencil"}, "mail.ex.test", "tls-x:1").ok());
}

TEST_P(Scram, ABindingThatTheServerDoesNotWantDoesNoHarm) {
  EXPECT_THAT(
      Start(GetParam(), {"user", "pencil"}, "tls-exporter:0123456789abcdef")->Step("").value(),
      StartsWith("n,,n=user,r="));
}

INSTANTIATE_TEST_SUITE_P(All, Scram, testing::Values("SCRAM-SHA-1", "SCRAM-SHA-256"),
                         [](const auto& info) {
                           return std::string(info.param) == "SCRAM-SHA-1" ? "Sha1" : "Sha256";
                         });

TEST(ClientStart, RefusesWhatItCannotSay) {
  const auto start = [](std::string_view mechanism, const Credentials& credentials) {
    return Client::Start(mechanism, credentials, "mail.ex.test", "").status();
  };
  EXPECT_TRUE(start("plain", {"user", "pencil"}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(start("SCRAM-SHA-512", {"user", "pencil"})));
  EXPECT_TRUE(absl::IsInvalidArgument(start("", {"user", "pencil"})));
  EXPECT_TRUE(absl::IsInvalidArgument(start("PLAIN", {"", "pencil"})));
  EXPECT_TRUE(absl::IsInvalidArgument(start("PLAIN", {std::string("us\0er", 5), "pencil"})));
  EXPECT_TRUE(absl::IsInvalidArgument(start("PLAIN", {"user", "pen\rcil"})));
  EXPECT_TRUE(absl::IsInvalidArgument(start("PLAIN", {"user", "pen\ncil"})));
}

TEST(ClientErrors, HoldNoSecret) {
  std::unique_ptr<Client> client = Start("LOGIN", {"user", "hunter2"});
  while (client->Step("").ok()) {
  }
  EXPECT_EQ(client->Step("").status().ToString().find("hunter2"), std::string::npos);
}

TEST(ServerPlain, AnsweredWithoutInitialResponse) {
  std::unique_ptr<Server> server = Serve("PLAIN");
  const Server::Outcome outcome = server->Step("");
  EXPECT_EQ(outcome.state, State::kChallenge);
  EXPECT_EQ(outcome.challenge, "");
  EXPECT_EQ(server->Step(std::string("\0user\0pencil", 12)).state, State::kSuccess);
}

TEST(ServerPlain, NobodyActsForAnother) {
  EXPECT_EQ(Serve("PLAIN")->Step(std::string("user\0user\0pencil", 16)).state, State::kSuccess);
  EXPECT_EQ(Serve("PLAIN")->Step(std::string("root\0user\0pencil", 16)).state, State::kFailure);
}

TEST(ServerLogin, TakesAnInitialResponseAsTheUser) {
  std::unique_ptr<Server> server = Serve("login");
  EXPECT_EQ(server->Step("user").challenge, "Password:");
  EXPECT_EQ(server->Step("pencil").state, State::kSuccess);
  EXPECT_EQ(server->user(), "user");
}

// So that a client may keep what it made of password and salt; nor does the salt tell who exists.
TEST(ServerScram, AnAccountKeepsItsSalt) {
  const auto salt = [](const std::string& user) {
    const std::string challenge =
        Serve("SCRAM-SHA-256")->Step("n,,n=" + user + ",r=fyko+d2lbbFgONRv9qkxdawL").challenge;
    const size_t begin = challenge.find(",s=") + 3;
    return challenge.substr(begin, challenge.find(",i=") - begin);
  };
  EXPECT_EQ(salt("user").size(), 24u) << "16 octets in base64";
  EXPECT_EQ(salt("user"), salt("user"));
  EXPECT_NE(salt("user"), salt("nobody"));
  EXPECT_EQ(salt("nobody"), salt("nobody"));
}

TEST(ServerStart, RefusesWhatItDoesNotHave) {
  EXPECT_FALSE(Server::Start("SCRAM-SHA-256-PLUS", "mail.ex.test", Passwords).ok());
  EXPECT_FALSE(Server::Start("ANONYMOUS", "mail.ex.test", Passwords).ok());
}

TEST(ExternalTest, SaysWhomToActAsOrNothing) {
  for (const std::string user : {"someone", ""}) {
    absl::StatusOr<std::unique_ptr<Client>> client =
        Client::Start("external", {user, ""}, "relay.test", "");
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_TRUE((*client)->client_first());
    const absl::StatusOr<std::string> response = (*client)->Step("");
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(*response, user);
    EXPECT_TRUE((*client)->complete());
    EXPECT_FALSE((*client)->Step("more?").ok());
  }
  EXPECT_FALSE(Client::Start("EXTERNAL", {"some\r\none", ""}, "relay.test", "").ok());
  EXPECT_FALSE(Client::Start("EXTERNAL", {"user", "token", true}, "relay.test", "").ok());
}

}  // namespace
}  // namespace mailrace::transport::sasl
