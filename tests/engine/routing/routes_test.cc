// The way of a recipient's mail, row by row as transport(5) and postconf(5) have it.
#include "engine/routing/routes.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace mailrace::engine {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class RoutesTest : public ::testing::Test {
 protected:
  std::shared_ptr<const config::Config> Load(const std::string& main_cf) {
    config::LoadEnvironment environment;
    environment.hostname = "host.example.com";
    environment.check_files = false;
    diagnostics_ = {};
    return config::LoadConfigText("main.cf", main_cf, "/nonexistent", environment, &diagnostics_);
  }
  void Use(const std::string& main_cf) {
    const auto config = Load(main_cf);
    ASSERT_NE(config, nullptr) << diagnostics_.ToString();
    routes_ = std::make_unique<Routes>(config);
  }
  std::string Way(std::string_view recipient, std::string_view sender = "me@app.example") {
    steps_.clear();
    return routes_->Resolve(sender, recipient, &steps_).ToString();
  }

  config::Diagnostics diagnostics_;
  std::unique_ptr<Routes> routes_;
  std::vector<std::string> steps_;
};

TEST_F(RoutesTest, WithoutAnythingTheRecipientsDomainDecides) {
  Use("");
  EXPECT_EQ(Way("a@Example.NET"), "example.net");
  EXPECT_EQ(Way("\"a@b\"@example.net"), "example.net");
  EXPECT_EQ(Way("a@[192.0.2.1]"), "[192.0.2.1]");
  EXPECT_EQ(Way("postmaster"), "host.example.com");
}

TEST_F(RoutesTest, TheRelayhostIsVerbatim) {
  Use("relayhost = [Relay.Example.NET]:587 other.example\n");
  EXPECT_EQ(Way("a@example.net"), "[Relay.Example.NET]:587, other.example");
  EXPECT_THAT(steps_, Contains("relayhost (main.cf:1)"));
}

TEST_F(RoutesTest, TheHowTosInternalServerDoesNotGoThroughTheProvider) {
  Use("relayhost = smtp.myisp.com\n"
      "transport_maps = inline:{ {mydomain.com = smtp:[internal-mailserver.mydomain.com]} }\n");
  EXPECT_EQ(Way("a@mydomain.com"), "[internal-mailserver.mydomain.com]");
  EXPECT_EQ(Way("a@elsewhere.com"), "smtp.myisp.com");
}

TEST_F(RoutesTest, KeysOfTransportMapsFromTheMostSpecificOn) {
  const std::vector<std::pair<std::string, std::string>> keys = {
      {"user+ext@sub.example.net", "full"},
      {"user@sub.example.net", "bare"},
      {"sub.example.net", "domain"},
      {".sub.example.net", "never"},
      {".example.net", "parent"},
      {".net", "grandparent"},
      {"*", "star"}};
  // Each is what decides once those before it are gone.
  const std::vector<std::string> expected = {"full",   "bare",        "domain", "parent",
                                             "parent", "grandparent", "star"};
  for (size_t first = 0; first < keys.size(); ++first) {
    std::string table;
    for (size_t i = first; i < keys.size(); ++i) {
      table += " {" + keys[i].first + " = :[" + keys[i].second + "]}";
    }
    Use("recipient_delimiter = +\ntransport_maps = inline:{" + table + " }\n");
    EXPECT_EQ(Way("User+Ext@Sub.Example.NET"), "[" + expected[first] + "]") << table;
  }
}

TEST_F(RoutesTest, AParentWithoutItsDotMatchesOnlyIfThatIsSaid) {
  const std::string table = "transport_maps = inline:{ {example.net = smtp:[a]} }\n";
  Use(table);
  EXPECT_EQ(Way("x@example.net"), "[a]");
  EXPECT_EQ(Way("x@sub.example.net"), "sub.example.net");
  Use(table + "parent_domain_matches_subdomains = mynetworks, transport_maps\n");
  EXPECT_EQ(Way("x@a.sub.example.net"), "[a]");
  Use("transport_maps = inline:{ {.example.net = smtp:[a]} }\n");
  EXPECT_EQ(Way("x@a.sub.example.net"), "[a]");
  EXPECT_EQ(Way("x@example.net"), "example.net");
  Use("parent_domain_matches_subdomains = transport_maps\n"
      "transport_maps = inline:{ {.example.net = smtp:[a]} }\n");
  EXPECT_EQ(Way("x@sub.example.net"), "sub.example.net");
}

TEST_F(RoutesTest, ResultsOfTransportMapsWithAndWithoutARelayhost) {
  struct Row {
    std::string value;
    std::string alone;       // Without relayhost.
    std::string with_relay;  // relayhost = [relay]:587
  };
  const std::vector<Row> rows = {
      {"smtp:", "example.net", "example.net"},
      {"smtp", "example.net", "example.net"},
      {"relay:", "example.net", "example.net"},
      {"smtp:other.test", "other.test", "other.test"},
      {"smtp:[other.test]:26", "[other.test]:26", "[other.test]:26"},
      {"relay:[::1]", "[::1]", "[::1]"},
      {"smtp:[a] [b]:26", "[a], [b]:26", "[a], [b]:26"},
      {":", "example.net", "[relay]:587"},
      {":[other.test]", "[other.test]", "[other.test]"},
      {"error:", "error:5.0.0 Address is undeliverable", "error:5.0.0 Address is undeliverable"},
      {"error:5.1.2 no: such place", "error:5.1.2 no: such place", "error:5.1.2 no: such place"},
      {"error:4.1.2 class of error", "error:5.1.2 class of error", "error:5.1.2 class of error"},
      {"retry:", "retry:4.0.0 Address is undeliverable", "retry:4.0.0 Address is undeliverable"},
      {"retry:4.3.2 closed", "retry:4.3.2 closed", "retry:4.3.2 closed"},
      {"discard:", "discard:2.0.0 discarded", "discard:2.0.0 discarded"},
      {"discard:quietly", "discard:2.0.0 quietly", "discard:2.0.0 quietly"},
  };
  for (const Row& row : rows) {
    const std::string table = "transport_maps = inline:{ {example.net = " + row.value + "} }\n";
    Use(table);
    EXPECT_EQ(Way("a@example.net"), row.alone) << row.value;
    Use("relayhost = [relay]:587\n" + table);
    EXPECT_EQ(Way("a@example.net"), row.with_relay) << row.value;
    EXPECT_EQ(Way("a@elsewhere.test"), "[relay]:587") << row.value;
  }
}

TEST_F(RoutesTest, WhatNobodyUnderstandsIsRefusedWhenItIsLoaded) {
  for (const std::string value :
       {"lmtp:unix:/x", "local:", "smpt:[a]", "smtp:[a", "smtp:a:99999"}) {
    EXPECT_EQ(Load("transport_maps = inline:{ {example.net = " + value + "} }\n"), nullptr)
        << value;
    EXPECT_THAT(diagnostics_.ToString(), HasSubstr("main.cf:1: error: transport_maps")) << value;
  }
  EXPECT_THAT(
      (Load("transport_maps = static:lmtp:x\n"), diagnostics_.ToString()),
      HasSubstr("there is no transport \"lmtp\" here; expected smtp, relay, error, retry or "
                "discard"));
  EXPECT_EQ(Load("default_transport = uucp\n"), nullptr);
  EXPECT_EQ(Load("default_transport = :[a]\n"), nullptr);
  EXPECT_EQ(Load("relay_transport = relay:[a]\n"), nullptr);
  EXPECT_NE(Load("relay_transport = smtp\n"), nullptr) << diagnostics_.ToString();
  EXPECT_EQ(Load("sender_dependent_relayhost_maps = static:[a\n"), nullptr);
  EXPECT_EQ(Load("sender_dependent_default_transport_maps = static::[a]\n"), nullptr);
}

TEST_F(RoutesTest, TheSendersRelayhostComesBeforeTheGeneralOne) {
  Use("relayhost = [general]\nrecipient_delimiter = +\n"
      "sender_dependent_relayhost_maps = inline:{ {alice@a.test = [alice]:587} {@a.test = [a]} "
      "{bob@a.test = DUNNO} {<> = [null]} {local = [mine]} }\n");
  EXPECT_EQ(Way("x@y.test", "alice@a.test"), "[alice]:587");
  EXPECT_EQ(Way("x@y.test", "Alice+tag@A.test"), "[alice]:587");
  EXPECT_EQ(Way("x@y.test", "carol@a.test"), "[a]");
  EXPECT_EQ(Way("x@y.test", "bob@a.test"), "[general]");
  EXPECT_EQ(Way("x@y.test", "x@sub.a.test"), "[general]");
  EXPECT_EQ(Way("x@y.test", ""), "[null]");
  EXPECT_EQ(Way("x@y.test", "local@host.example.com"), "[mine]");
  EXPECT_EQ(Way("x@y.test", "local@other.test"), "[general]");
  Use("sender_dependent_relayhost_maps = static:dunno\n");
  EXPECT_EQ(Way("x@y.test", "alice@a.test"), "y.test");
}

TEST_F(RoutesTest, WhatOverridesWhat) {
  const std::string relay = "relayhost = [general]\n";
  const std::string by_sender = "sender_dependent_relayhost_maps = static:[sender]\n";
  const std::string bare = "default_transport = relay\n";
  const std::string nexthop = "default_transport = smtp:[default]\n";
  const std::string sender_default =
      "sender_dependent_default_transport_maps = inline:{ {@app.example = smtp:[senderdefault]} "
      "}\n";
  const std::string map = "transport_maps = static::[map]\n";
  struct Row {
    std::string main_cf;
    std::string expected;
  };
  for (const Row& row :
       std::vector<Row>{{relay, "[general]"},
                        {relay + by_sender, "[sender]"},
                        {relay + by_sender + bare, "[sender]"},
                        {relay + by_sender + nexthop, "[default]"},
                        {relay + by_sender + nexthop + sender_default, "[senderdefault]"},
                        {relay + by_sender + nexthop + sender_default + map, "[map]"}}) {
    Use(row.main_cf);
    EXPECT_EQ(Way("x@y.test"), row.expected) << row.main_cf;
  }
  Use("relayhost = [general]\ndefault_transport = error:5.7.1 not from here\n"
      "transport_maps = inline:{ {y.test = smtp:} {z.test = :} }\n");
  EXPECT_EQ(Way("x@w.test"), "error:5.7.1 not from here");
  EXPECT_EQ(Way("x@y.test"), "y.test");
  EXPECT_EQ(Way("x@z.test"), "error:5.7.1 not from here");
}

TEST_F(RoutesTest, WhoHasAnOwnLoginHasAnOwnLine) {
  const std::string table =
      "relayhost = [relay]:587\nsmtp_sasl_auth_enable = yes\n"
      "smtp_sasl_password_maps = inline:{ {alice@a.test = alice:pw} {@b.test = b:pw} "
      "{relay = common:pw} }\n";
  Use(table);
  EXPECT_EQ(Way("x@y.test", "alice@a.test"), "[relay]:587");
  Use(table + "smtp_sender_dependent_authentication = yes\n");
  EXPECT_EQ(Way("x@y.test", "Alice@a.test"), "[relay]:587 as alice@a.test");
  EXPECT_EQ(Way("x@y.test", "one@b.test"), "[relay]:587 as @b.test");
  EXPECT_EQ(Way("x@y.test", "two@b.test"), "[relay]:587 as @b.test");
  EXPECT_EQ(Way("x@y.test", "carol@a.test"), "[relay]:587");
  EXPECT_EQ(Way("x@y.test", ""), "[relay]:587");
  Use(table + "smtp_sender_dependent_authentication = yes\ntransport_maps = static:error:no\n");
  EXPECT_EQ(Way("x@y.test", "alice@a.test"), "error:5.0.0 no");
}

TEST(HopNameTest, NamesAreReadAsTheyAreWritten) {
  for (const std::string name :
       {"example.net", "[relay]:587", "[a], [b]:26", "[relay]:587 as @b.test",
        "[relay]:587 as \"x as y\"@b.test", "error:5.1.2 no: such place", "retry:4.3.0 x",
        "discard:2.0.0 discarded", "error:25", "error", "discard:smtp"}) {
    EXPECT_EQ(HopName::Parse(name).ToString(), name);
  }
  EXPECT_EQ(HopName::Parse("error:25").transport, config::Transport::kSmtp) << "a host, a port";
  EXPECT_EQ(HopName::Parse("[relay]:587 as \"x as y\"@b.test").sender_key, "\"x as y\"@b.test");
  EXPECT_EQ(HopName::Parse("retry:4.3.0 x").status, (EnhancedStatus{4, 3, 0}));
}

}  // namespace
}  // namespace mailrace::engine
