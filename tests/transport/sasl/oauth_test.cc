// Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2; and what SCRAM is spared.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/sasl/client.h"
#include "transport/sasl/salted_passwords.h"

namespace mailrace::transport::sasl {
namespace {

using testing::IsEmpty;
using testing::Not;

Credentials Token(std::string user, std::string token) {
  Credentials credentials{std::move(user), std::move(token)};
  credentials.bearer = true;
  return credentials;
}

std::unique_ptr<Client> Start(std::string_view mechanism, const Credentials& credentials) {
  auto client = Client::Start(mechanism, credentials, "smtp.ex.test", "");
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

TEST(Oauth, XoauthsInitialResponse) {
  const auto client =
      Start("XOAUTH2", Token("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdH"));
  EXPECT_TRUE(client->client_first());
  EXPECT_EQ(client->Step("").value(),
            "user=someuser@example.com\x01"
            "auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdH\x01\x01");
  EXPECT_TRUE(client->complete());
}

TEST(Oauth, OauthBearersInitialResponse) {
  const auto client = Start("OAUTHBEARER", Token("us,e=r@example.com", "vF9dft4qmTc2Nvb3Rlcg=="));
  EXPECT_EQ(client->Step("").value(),
            "n,a=us=2Ce=3Dr@example.com,\x01"
            "host=smtp.ex.test\x01"
            "auth=Bearer vF9dft4qmTc2Nvb3Rlcg==\x01\x01");
  EXPECT_TRUE(client->complete());
}

// RFC 7628 3.2.3: the error is answered, and the refusal comes after it.
TEST(Oauth, AnErrorChallengeIsAnsweredOnceAndIsNoSuccess) {
  for (const auto& [mechanism, answer] :
       {std::pair<std::string, std::string>("OAUTHBEARER", "\x01"), {"XOAUTH2", ""}}) {
    const auto client = Start(mechanism, Token("u", "t"));
    ASSERT_TRUE(client->Step("").ok());
    EXPECT_EQ(client->Step(R"({"status":"invalid_token"})").value(), answer);
    EXPECT_FALSE(client->complete()) << "a 235 now would be a lie";
    EXPECT_FALSE(client->Step("more").ok());
    EXPECT_FALSE(client->complete());
  }
}

TEST(Oauth, TokensAndPasswordsDoNotMeet) {
  const std::vector<std::string> offered = {"PLAIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"};
  EXPECT_EQ(ChooseMechanism(offered, {}, false, true), "OAUTHBEARER");
  EXPECT_EQ(ChooseMechanism(offered, {}, false, false), "SCRAM-SHA-256");
  EXPECT_EQ(ChooseMechanism({"XOAUTH2", "PLAIN"}, {}, true, true), "XOAUTH2");
  EXPECT_EQ(ChooseMechanism({"PLAIN", "LOGIN"}, {}, true, true), "");
  EXPECT_EQ(ChooseMechanism({"XOAUTH2"}, {}, true, false), "");
  EXPECT_EQ(ChooseMechanism(offered, {.noplaintext = true}, false, true), "");
  EXPECT_EQ(ChooseMechanism(offered, {.noanonymous = true}, false, true), "OAUTHBEARER");
  EXPECT_FALSE(Client::Start("PLAIN", Token("u", "t"), "h", "").ok());
  EXPECT_FALSE(Client::Start("XOAUTH2", {"u", "password"}, "h", "").ok());
}

TEST(Oauth, NothingEndsAFieldEarly) {
  for (const std::string& bad :
       {std::string("a\x01"), std::string("a\r\n"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(Client::Start("XOAUTH2", Token(bad, "t"), "h", "").ok());
    EXPECT_FALSE(Client::Start("XOAUTH2", Token("u", bad), "h", "").ok());
  }
}

// Up to the server's first message; what answering it would salt.
std::string KeyOf(const std::string& mechanism, const Credentials& credentials,
                  const std::string& salt_and_count) {
  const auto client = Start(mechanism, credentials);
  EXPECT_THAT(client->SaltingKey("r=x,s=QSXCR+Q6sek8bf92,i=4096"), IsEmpty()) << "not yet asked";
  const std::string first = client->Step("").value();
  const std::string nonce = first.substr(first.rfind(",r=") + 3);
  return client->SaltingKey("r=" + nonce + "server," + salt_and_count);
}

TEST(Salting, TheKeyIsWhatTheResultDependsOn) {
  const std::string salt = "s=QSXCR+Q6sek8bf92,i=4096";
  const std::string key = KeyOf("SCRAM-SHA-256", {"user", "pencil"}, salt);
  EXPECT_THAT(key, Not(IsEmpty()));
  EXPECT_EQ(KeyOf("SCRAM-SHA-256", {"user", "pencil"}, salt), key);
  EXPECT_NE(KeyOf("SCRAM-SHA-1", {"user", "pencil"}, salt), key);
  EXPECT_NE(KeyOf("SCRAM-SHA-256", {"user2", "pencil"}, salt), key);
  EXPECT_NE(KeyOf("SCRAM-SHA-256", {"user", "pencil2"}, salt), key);
  EXPECT_NE(KeyOf("SCRAM-SHA-256", {"user", "pencil"}, "s=QSXCR+Q6sek8bf93,i=4096"), key);
  EXPECT_NE(KeyOf("SCRAM-SHA-256", {"user", "pencil"}, "s=QSXCR+Q6sek8bf92,i=5000"), key);
  EXPECT_THAT(KeyOf("SCRAM-SHA-256", {"user", "pencil"}, "s=QSXCR+Q6sek8bf92,i=99999999"),
              IsEmpty())
      << "refused at once: nothing to salt";
  EXPECT_THAT(Start("PLAIN", {"user", "pencil"})->SaltingKey("x"), IsEmpty());
}

// The salted password for a server's salt, by an exchange of our own.
std::string SaltedFor(const std::string& challenge) {
  auto client = Start("SCRAM-SHA-256", {"user", "pencil"});
  const std::string first = client->Step("").value();
  const std::string nonce = first.substr(first.rfind(",r=") + 3);
  EXPECT_TRUE(client->Step("r=" + nonce + "x" + challenge.substr(challenge.find(",s="))).ok());
  return client->salted();
}

// A server whose salts stay: two exchanges, the second without salting.
TEST(Salting, ASaltedPasswordServesTheNextExchange) {
  const auto lookup = [](std::string_view) -> std::optional<std::string> { return "pencil"; };
  auto server = *Server::Start("SCRAM-SHA-256", "smtp.ex.test", lookup);
  auto client = Start("SCRAM-SHA-256", {"user", "pencil"});
  const std::string first = client->Step("").value();
  const std::string challenge = server->Step(first).challenge;
  SaltedPasswords known;
  const std::string key = client->SaltingKey(challenge);
  EXPECT_THAT(known.Find(key), IsEmpty());
  const std::string honest = client->Step(challenge).value();
  known.Put(key, client->salted());
  ASSERT_THAT(known.Find(key), Not(IsEmpty()));
  EXPECT_EQ(server->Step(honest).state, Server::Outcome::State::kSuccess);

  // What is known is what is used: a wrong one is refused by the server.
  for (const bool right : {true, false}) {
    auto server2 = *Server::Start("SCRAM-SHA-256", "smtp.ex.test", lookup);
    auto client2 = Start("SCRAM-SHA-256", {"user", "pencil"});
    const std::string challenge2 = server2->Step(client2->Step("").value()).challenge;
    client2->UseSalted(right ? SaltedFor(challenge2) : std::string(64, 'a'));
    const auto answer = client2->Step(challenge2);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(server2->Step(*answer).state == Server::Outcome::State::kSuccess, right);
  }
}

TEST(Salting, OnlySoManyAreKept) {
  SaltedPasswords known;
  for (size_t i = 0; i < SaltedPasswords::kKept; ++i) known.Put(std::to_string(i), "x");
  EXPECT_EQ(known.Find("0"), "x");  // Used again: not the oldest any more.
  known.Put("new", "y");
  EXPECT_EQ(known.size(), SaltedPasswords::kKept);
  EXPECT_EQ(known.Find("0"), "x");
  EXPECT_EQ(known.Find("new"), "y");
  EXPECT_THAT(known.Find("1"), IsEmpty());
}

}  // namespace
}  // namespace mailrace::transport::sasl
