// Where mail goes when it is not simply the relayhost: tables, fallbacks, loops, hosts
// with several addresses.
#include "engine/routing/routes.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class RoutingTest : public DeliveryFixture {
 protected:
  static IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
  // Routes by this main.cf; sessions as in every simulation.
  void Route(const std::string& main_cf) {
    config::LoadEnvironment environment;
    environment.hostname = "mailrace.test";
    environment.check_files = false;
    config::Diagnostics diagnostics;
    const auto config =
        config::LoadConfigText("main.cf", main_cf, "/nonexistent", environment, &diagnostics);
    ASSERT_NE(config, nullptr) << diagnostics.ToString();
    settings_.routes = std::make_shared<const Routes>(config);
    settings_.relayhost = RelayhostName(config->options.smtp.relayhost);
    settings_.fallback_relays = config->options.smtp.smtp_fallback_relay;
  }
  // A host that answers, or none.
  void Host(const std::string& name, const std::vector<std::string>& addresses, bool up = true) {
    std::vector<IpAddress> ips;
    for (const std::string& each : addresses) {
      ips.push_back(Ip(each));
      if (up) ASSERT_TRUE(host_->relay().Listen({Ip(each), 25}).ok());
    }
    host_->resolver().Add(name, ips);
  }
  void StartDirect() {
    settings_.relayhost.clear();
    Start();
  }
};

TEST_F(RoutingTest, ATransportMapSendsSomeMailAnotherWay) {
  Route(
      "relayhost = [relay.test]:25\n"
      "transport_maps = inline:{ {inside.test = smtp:[internal.test]} }\n");
  Start();
  Host("internal.test", {"192.0.2.50"});
  Submit(To({"a@inside.test", "b@outside.test", "c@inside.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(DeliveredTo(),
              UnorderedElementsAre("a@inside.test", "b@outside.test", "c@inside.test"));
  EXPECT_EQ(delivered(), 2u) << "one transaction a nexthop";
  EXPECT_THAT(Logged("to=<a@inside.test>, relay=internal.test[192.0.2.50]:25"), SizeIs(1));
  EXPECT_THAT(Logged("to=<b@outside.test>, relay=relay.test"), SizeIs(1));
}

TEST_F(RoutingTest, TheErrorTransportReturnsMailAtOnce) {
  Route(
      "relayhost = [relay.test]:25\n"
      "transport_maps = inline:{ {gone.test = error:5.1.2 this place is gone} }\n");
  Start();
  Submit(To({"a@gone.test", "b@fine.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(DeliveredTo(), UnorderedElementsAre("b@fine.test", "sender@app.test"));
  EXPECT_THAT(Logged("to=<a@gone.test>, relay=none"),
              ElementsAre(HasSubstr("dsn=5.1.2, status=bounced (this place is gone)")));
  EXPECT_EQ(Queued(), 0u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(RoutingTest, UnderSoftBounceTheErrorTransportDefers) {
  Route("transport_maps = inline:{ {* = error:5.1.2 gone} }\n");
  settings_.soft_bounce = true;
  Start();
  Submit(To({"a@gone.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("status=deferred (gone)"), ElementsAre(HasSubstr("dsn=4.1.2")));
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(RoutingTest, TheRetryTransportDefersUntilItsTableSaysOtherwise) {
  Route("transport_maps = inline:{ {* = retry:4.3.2 moving house} }\n");
  Start();
  for (int i = 0; i < 20; ++i) Submit(To({"a@moving.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("status=deferred (moving house)"), SizeIs(20));
  EXPECT_THAT(Logged("delivery suspended"), IsEmpty()) << "nothing is dead here";
  EXPECT_EQ(host_->network().connects(), 0u);
  Route("relayhost = [relay.test]:25\n");
  Reload();
  host_->RunFor(absl::Minutes(10));
  EXPECT_EQ(delivered(), 20u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(RoutingTest, MailThatIsOnlyEverRetriedExpires) {
  Route("transport_maps = inline:{ {moving.test = retry:moving house} {* = smtp:[relay.test]} }\n");
  settings_.retry.lifetime = absl::Hours(1);
  Start();
  Submit(To({"a@moving.test"}));
  host_->RunFor(absl::Hours(3));
  EXPECT_THAT(DeliveredTo(), ElementsAre("sender@app.test"));
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(RoutingTest, TheDiscardTransportThrowsAwayAndSaysSo) {
  Route("transport_maps = inline:{ {* = discard:not wanted} }\n");
  Start();
  Submit(To({"a@void.test", "b@void.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("relay=none"), Each(HasSubstr("dsn=2.0.0, status=sent (not wanted)")));
  EXPECT_THAT(Logged("relay=none"), SizeIs(2));
  EXPECT_EQ(stats().discarded.value(), 2u);
  EXPECT_EQ(stats().delivered.value(), 0u);
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(RoutingTest, AThousandMessagesToATransportWithoutServersDoNotPileUp) {
  Route("transport_maps = inline:{ {* = discard:} }\n");
  Start();
  for (int i = 0; i < 1000; ++i) Submit(To({"a@void.test"}));
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(stats().discarded.value(), 1000u);
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(RoutingTest, EachSendersRelayhostGetsItsMail) {
  Route(
      "relayhost = [relay.test]:25\n"
      "sender_dependent_relayhost_maps = inline:{ {@one.test = [one.relay.test]} }\n");
  Start();
  Host("one.relay.test", {"192.0.2.51"});
  Submit(To({"x@y.test"}, "me@one.test"));
  Submit(To({"x@y.test"}, "me@two.test"));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("relay=one.relay.test[192.0.2.51]:25"), SizeIs(1));
  EXPECT_THAT(Logged("relay=relay.test"), SizeIs(1));
}

TEST_F(RoutingTest, TheFallbackRelayComesAfterTheDestinationsOwnHosts) {
  Route("smtp_fallback_relay = [fallback.test]\n");
  StartDirect();
  Host("up.test", {"192.0.2.61"});
  Host("down.test", {"192.0.2.62"}, false);
  Host("fallback.test", {"192.0.2.63"});
  Submit(To({"a@up.test"}));
  Submit(To({"a@down.test"}));
  Submit(To({"a@nosuch.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 3u);
  EXPECT_THAT(Logged("to=<a@up.test>, relay=up.test"), SizeIs(1));
  EXPECT_THAT(Logged("to=<a@down.test>, relay=fallback.test"), SizeIs(1));
  EXPECT_THAT(Logged("to=<a@nosuch.test>, relay=fallback.test"), SizeIs(1));
}

TEST_F(RoutingTest, AFallbackRelayThatDoesNotExistRefusesNobodysMail) {
  Route("smtp_fallback_relay = [nosuch.fallback.test]\n");
  StartDirect();
  Host("down.test", {"192.0.2.62"}, false);
  Submit(To({"a@down.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("status=bounced"), IsEmpty());
  EXPECT_THAT(Logged("to=<a@down.test>, relay=none"), SizeIs(testing::Ge(1u)));
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(RoutingTest, MailForADomainWhoseBestExchangerWeAreLoops) {
  Route("smtp_fallback_relay = [fallback.test]\n");
  settings_.targets.own.listeners = {*SocketAddress::Parse("192.0.2.70:25")};
  StartDirect();
  Host("us.test", {"192.0.2.70"}, false);
  Host("backup.test", {"192.0.2.71"});
  Host("fallback.test", {"192.0.2.63"});
  host_->resolver().AddMx("loop.test", {{10, "us.test"}, {20, "backup.test"}});
  Submit(To({"a@loop.test"}, ""));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 0u) << "neither a worse exchanger nor the fallback gets it";
  EXPECT_THAT(Logged("to=<a@loop.test>, relay=none"),
              ElementsAre(HasSubstr("dsn=5.4.6, status=bounced (mail for loop.test loops back to "
                                    "myself)")));
}

TEST_F(RoutingTest, ABackupExchangerSendsToTheBetterOnesOnly) {
  Route("smtp_fallback_relay = [fallback.test]\n");
  settings_.targets.own.listeners = {*SocketAddress::Parse("192.0.2.70:25")};
  StartDirect();
  Host("primary.test", {"192.0.2.72"}, false);
  Host("us.test", {"192.0.2.70"}, false);
  Host("third.test", {"192.0.2.71"});
  Host("fallback.test", {"192.0.2.63"});
  host_->resolver().AddMx("ours.test", {{10, "primary.test"}, {20, "us.test"}, {30, "third.test"}});
  host_->resolver().AddMx("lost.test", {{10, "nosuch.test"}, {20, "us.test"}});
  Submit(To({"a@ours.test"}));
  Submit(To({"a@lost.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 0u);
  EXPECT_THAT(Logged("connect to primary.test[192.0.2.72]:25"), SizeIs(testing::Ge(1u)));
  EXPECT_THAT(Logged("unable to find primary relay for lost.test"), SizeIs(testing::Ge(1u)));
  EXPECT_THAT(Logged("status=bounced"), IsEmpty());
}

TEST_F(RoutingTest, ARelayhostThatIsOurselvesIsAMistakeNotARefusal) {
  Route("relayhost = [us.test]\n");
  settings_.targets.own.listeners = {*SocketAddress::Parse("192.0.2.70:25")};
  Start();
  Host("us.test", {"192.0.2.70"}, false);
  Submit(To({"a@x.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_THAT(Logged("loops back to myself"), testing::Contains(HasSubstr("dsn=4.3.5")));
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(RoutingTest, ATemporaryFailureOfOneNameHidesNoMail) {
  StartDirect();
  host_->resolver().AddMx("mixed.test", {{10, "nosuch.test"}, {20, "backup.test"}});
  Host("backup.test", {"192.0.2.71"});
  Submit(To({"a@mixed.test"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(RoutingTest, WhenNoExchangerHasAnAddressTheSwitchDecides) {
  for (const bool defer : {false, true}) {
    settings_.targets.smtp_defer_if_no_mx_address_found = defer;
    StartDirect();
    host_->resolver().AddMx("empty.test", {{10, "nosuch.test"}});
    log_.Clear();
    Submit(To({"a@empty.test"}, ""));
    host_->RunFor(absl::Seconds(1));
    EXPECT_THAT(Logged("status=bounced"), SizeIs(defer ? 0 : 1));
    EXPECT_THAT(Stored(), SizeIs(defer ? 1 : 0));
  }
}

TEST_F(RoutingTest, AFailedMxLookupDefersUnlessToldToIgnoreIt) {
  for (const bool ignore : {true, false}) {
    settings_.targets.ignore_mx_lookup_error = ignore;
    StartDirect();
    Host("broken.test", {"192.0.2.73"});
    host_->resolver().FailMx("broken.test");
    const size_t before = delivered();
    Submit(To({"a@broken.test"}));
    host_->RunFor(absl::Seconds(1));
    EXPECT_EQ(delivered() - before, ignore ? 1u : 0u);
  }
}

// Measured in connects, the currency of a dead host: without a memory of it every second
// session would begin with one that fails.
TEST_F(RoutingTest, ADeadAddressOfTwoCostsAlmostNothing) {
  settings_.connection_reuse = false;
  Start();
  host_->resolver().Add("relay.test", {sim::RelayAddress().ip, Ip("192.0.2.9")});
  ASSERT_TRUE(host_->relay().Listen({Ip("192.0.2.9"), 25}).ok());
  host_->network().SetRefused(sim::RelayAddress(), true);
  for (int i = 0; i < 200; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
  }
  EXPECT_EQ(delivered(), 200u);
  // One at the start, and one at the end of each pause of 30, 60, 120 s.
  EXPECT_LE(host_->network().connects(), 200u + 4u);
  EXPECT_GE(host_->network().connects(), 200u + 1u);
  // When it is back it is used again.
  host_->network().SetRefused(sim::RelayAddress(), false);
  for (int i = 0; i < 300; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(5));
  }
  EXPECT_THAT(Logged("relay=relay.test[192.0.2.1]:25"), SizeIs(testing::Ge(50u)));
}

TEST_F(RoutingTest, AHostThatHangsUpInsteadOfGreetingIsPassedByToo) {
  settings_.connection_reuse = false;
  Start();
  host_->resolver().Add("relay.test", {sim::RelayAddress().ip, Ip("192.0.2.9")});
  ASSERT_TRUE(host_->relay().Listen({Ip("192.0.2.9"), 25}).ok());
  host_->relay().set_site_script(
      [](const SocketAddress& site, Step step, std::string_view) -> std::optional<Act> {
        if (site != sim::RelayAddress() || step != Step::kGreeting) return std::nullopt;
        return Act{Act::Kind::kReplyAndHang, "421 4.3.2 closed"};
      });
  for (int i = 0; i < 50; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Milliseconds(500));
  }
  EXPECT_EQ(delivered(), 50u);
  EXPECT_LE(host_->network().connects(), 52u);
}

TEST_F(RoutingTest, ARefusedLoginFailsMailOnlyWithoutItsSoftBounce) {
  auto policy = std::make_shared<sim::PlainPolicy>();
  policy->credentials = transport::sasl::Credentials{"user", "secret"};
  settings_.policy = policy;
  for (const bool soft : {false, true}) {
    settings_.sasl_soft_bounce = soft;
    Start();
    log_.Clear();
    host_->relay().set_keywords({"AUTH PLAIN"});
    Answer(Step::kAuth, "535 5.7.8 wrong");
    Submit(To({"a@example.com"}, ""));
    host_->RunFor(absl::Seconds(1));
    EXPECT_THAT(Logged("status=bounced (SASL authentication failed; server"), SizeIs(soft ? 0 : 1));
    EXPECT_THAT(Stored(), SizeIs(soft ? 1 : 0));
  }
}

}  // namespace
}  // namespace mailrace::engine
