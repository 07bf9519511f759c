// Logins that are refused, missing or not to be tried: what becomes of the mail, and how
// often a server hears a wrong password.
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LoginTest : public DeliveryFixture {
 protected:
  LoginTest() {
    policy_->credentials = transport::sasl::Credentials{"user", "wrong"};
    settings_.policy = policy_;
    settings_.connection_reuse = false;
  }
  void StartWith(std::vector<std::string> keywords) {
    Start();
    host_->relay().set_keywords(std::move(keywords));
  }
  // The administrator writes another password and reloads.
  void Correct(std::string password) {
    policy_ = std::make_shared<sim::PlainPolicy>();
    policy_->credentials = transport::sasl::Credentials{"user", std::move(password)};
    settings_.policy = policy_;
    Reload();
  }

  std::shared_ptr<sim::PlainPolicy> policy_ = std::make_shared<sim::PlainPolicy>();
};

TEST_F(LoginTest, WhereNoAuthIsAnnouncedMailGoesOnUnlessItMustNot) {
  StartWith({"PIPELINING"});
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u) << "as Postfix does";
  settings_.sasl_require_auth = true;
  Reload();
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(Logged("announced no AUTH, and sasl_require_auth = yes"),
              Contains(HasSubstr("dsn=4.7.0, status=deferred")));
}

TEST_F(LoginTest, AuthIsNotRequiredOfServersThatNobodyHasAPasswordFor) {
  settings_.sasl_require_auth = true;
  policy_->credentials.reset();
  StartWith({"PIPELINING"});
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(LoginTest, APasswordThatWasRefusedIsTriedOncePerPause) {
  settings_.limits.initial_concurrency = 20;
  StartWith({"AUTH PLAIN"});
  // All sessions stand before the first one hears its refusal.
  host_->network().set_faults({.latency_max = absl::Milliseconds(500)});
  Answer(Step::kAuth, "535 5.7.8 wrong");
  for (int i = 0; i < 50; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(299));
  EXPECT_EQ(book_.auths, 1u);
  EXPECT_THAT(Logged("SASL authentication to relay.test[192.0.2.1] as user was refused"),
              SizeIs(1));
  host_->RunFor(absl::Seconds(1200));
  EXPECT_LE(book_.auths, 6u) << "one a pause of 300 s, whatever else is tried";
}

TEST_F(LoginTest, WithTheAuthCacheOnlyAnotherPasswordIsTried) {
  settings_.sasl_cache_time = absl::Hours(24 * 90);
  StartWith({"AUTH PLAIN"});
  Answer(Step::kAuth, "535 5.7.8 wrong", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(1));
  Reload();
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(book_.auths, 1u);
  EXPECT_THAT(Logged("SASL [CACHED] authentication failed; server"), testing::Not(IsEmpty()));
  EXPECT_EQ(delivered(), 0u);
  Correct("right");
  host_->RunFor(absl::Hours(2));
  EXPECT_EQ(book_.auths, 2u);
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(LoginTest, AnotherRefusalThan535IsNotRemembered) {
  StartWith({"AUTH PLAIN"});
  Answer(Step::kAuth, "454 4.7.0 later", 1);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_THAT(Logged("was refused"), IsEmpty());
}

TEST_F(LoginTest, ATokenDoesNotTravelInClear) {
  policy_->credentials->bearer = true;
  StartWith({"AUTH PLAIN XOAUTH2 OAUTHBEARER"});
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(book_.auths, 0u);
  EXPECT_THAT(Logged("no mechanism available"), Contains(HasSubstr("dsn=4.7.0")));
}

}  // namespace
}  // namespace mailrace::engine
