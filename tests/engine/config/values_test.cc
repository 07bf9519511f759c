#include "engine/config/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config/networks.h"
#include "engine/config/relayhost.h"

namespace mailrace::engine::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(YesNo, IsYesOrNoInAnyCaseAndNothingElse) {
  EXPECT_TRUE(*ParseYesNo("yes"));
  EXPECT_TRUE(*ParseYesNo("YES"));
  EXPECT_FALSE(*ParseYesNo("No"));
  for (const char* bad : {"", "y", "true", "1", "on", "yes no"}) {
    EXPECT_FALSE(ParseYesNo(bad).ok()) << bad;
  }
}

TEST(Integer, IsDecimalWithinItsRange) {
  EXPECT_EQ(*ParseInteger("20", 0, 100), 20);
  EXPECT_EQ(*ParseInteger("100", 0, 100), 100);
  for (const char* bad : {"", "-1", "101", "5x", " 5", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInteger(bad, 0, 100).ok()) << bad;
  }
  EXPECT_EQ(ParseInteger("101", 0, 100).status().message(), "101 is not within 0..100");
}

TEST(Octets, KnowBinarySuffixes) {
  EXPECT_EQ(*ParseOctets("10240000", 0, INT64_MAX), 10240000);
  EXPECT_EQ(*ParseOctets("512M", 0, INT64_MAX), int64_t{512} << 20);
  EXPECT_EQ(*ParseOctets("1k", 0, INT64_MAX), 1024);
  EXPECT_EQ(*ParseOctets("2g", 0, INT64_MAX), int64_t{2} << 30);
  for (const char* bad : {"", "M", "1.5M", "1T", "1MB", "9223372036854775807G"}) {
    EXPECT_FALSE(ParseOctets(bad, 0, INT64_MAX).ok()) << bad;
  }
}

TEST(Time, HasPostfixesUnits) {
  EXPECT_EQ(*ParseTime("300", 's', 0, 1e9), absl::Seconds(300));
  EXPECT_EQ(*ParseTime("5", 'd', 0, 1e9), absl::Hours(120));
  EXPECT_EQ(*ParseTime("2w", 's', 0, 1e9), absl::Hours(336));
  EXPECT_EQ(*ParseTime("90m", 's', 0, 1e9), absl::Seconds(5400));
  EXPECT_EQ(*ParseTime("0h", 's', 0, 1e9), absl::ZeroDuration());
  for (const char* bad :
       {"", "s", "5x", "5M", "5 m", "1h30m", "-5s", "1.5h", "99999999999999999w"}) {
    EXPECT_FALSE(ParseTime(bad, 's', 0, INT64_MAX).ok()) << bad;
  }
  EXPECT_EQ(ParseTime("2h", 's', 1, 3600).status().message(), "2h is not within 1s..1h");
}

TEST(List, SeparatesAtCommasAndSpacesOutsideBraces) {
  EXPECT_THAT(*SplitList("a, b\tc,,d"), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(*SplitList("inline:{a=b, {c = d e}} hash:/x"),
              ElementsAre("inline:{a=b, {c = d e}}", "hash:/x"));
  EXPECT_THAT(*SplitList(""), ElementsAre());
  EXPECT_FALSE(SplitList("a {b").ok());
  EXPECT_FALSE(SplitList("a b}").ok());
}

struct NexthopCase {
  const char* text;
  const char* host;
  int port;
  bool mx;
};
class NexthopTest : public ::testing::TestWithParam<NexthopCase> {};

TEST_P(NexthopTest, SaysHostPortAndMx) {
  const NexthopCase& expected = GetParam();
  const absl::StatusOr<Nexthop> got = ParseNexthop(expected.text, 25);
  ASSERT_TRUE(got.ok()) << got.status().message();
  EXPECT_EQ(got->host, expected.host);
  EXPECT_EQ(got->port, expected.port);
  EXPECT_EQ(got->lookup_mx, expected.mx);
  EXPECT_EQ(got->text, expected.text) << "the key of tables stays as written";
}

INSTANTIATE_TEST_SUITE_P(
    Relayhost, NexthopTest,
    ::testing::Values(NexthopCase{"smtp.myisp.com", "smtp.myisp.com", 25, true},
                      NexthopCase{"SMTP.MyISP.com.", "smtp.myisp.com", 25, true},
                      NexthopCase{"smtp.myisp.com:587", "smtp.myisp.com", 587, true},
                      NexthopCase{"[smtp.myisp.com]", "smtp.myisp.com", 25, false},
                      NexthopCase{"[smtp.myisp.com]:submission", "smtp.myisp.com", 587, false},
                      NexthopCase{"[smtp.myisp.com]:smtps", "smtp.myisp.com", 465, false},
                      NexthopCase{"host:smtp", "host", 25, true},
                      NexthopCase{"[1.2.3.4]", "1.2.3.4", 25, false},
                      NexthopCase{"1.2.3.4:26", "1.2.3.4", 26, false},
                      NexthopCase{"[ipv6:::1]:2525", "::1", 2525, false},
                      NexthopCase{"[IPv6:2001:db8::1]", "2001:db8::1", 25, false},
                      NexthopCase{"[2001:DB8::1]:25", "2001:db8::1", 25, false},
                      NexthopCase{"[mail_relay]", "mail_relay", 25, false}));

TEST(Nexthop, BadOnesSayWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {{"", "empty"},
                                                       {"[]", "empty"},
                                                       {"[host", "missing ']'"},
                                                       {"[host]587", "unexpected \"587\""},
                                                       {"host:", "bad port"},
                                                       {"host:0", "bad port"},
                                                       {"host:65536", "bad port"},
                                                       {"host:nosuchservice", "bad port"},
                                                       {"2001:db8::1", "brackets"},
                                                       {"a..b", "empty label"},
                                                       {"587", "is a number"},
                                                       {"192.0.2", "is a number"},
                                                       {"ho st", "bad character"},
                                                       {"smtp_use_tls=yes", "bad character"},
                                                       {"-oQ/tmp", "bad character"},
                                                       {"-host", "begins with '-'"},
                                                       {"[user@host]", "bad character"}};
  for (const auto& [text, problem] : cases) {
    const absl::StatusOr<Nexthop> got = ParseNexthop(text, 25);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_THAT(std::string(got.status().message()), HasSubstr(problem)) << text;
  }
  EXPECT_FALSE(ParseNexthop(std::string(64, 'a') + ".com", 25).ok());
  EXPECT_FALSE(ParseNexthop(std::string(300, 'a'), 25).ok());
}

TEST(Nexthop, SeveralAreTriedInOrder) {
  const absl::StatusOr<std::vector<Nexthop>> got = ParseNexthops("[a]:587, b c:26", 2525);
  ASSERT_TRUE(got.ok());
  ASSERT_EQ(got->size(), 3U);
  EXPECT_EQ((*got)[0].port, 587);
  EXPECT_EQ((*got)[1].port, 2525) << "smtp_tcp_port";
  EXPECT_EQ((*got)[2].text, "c:26");
}

bool Admits(std::string_view list, std::string_view ip) {
  return NetworkList::Parse(list)->Contains(*IpAddress::Parse(ip));
}

TEST(Networks, ContainTheirAddresses) {
  EXPECT_TRUE(Admits("127.0.0.0/8 [::1]/128", "127.255.0.1"));
  EXPECT_TRUE(Admits("127.0.0.0/8 [::1]/128", "::1"));
  EXPECT_FALSE(Admits("127.0.0.0/8 [::1]/128", "128.0.0.1"));
  EXPECT_FALSE(Admits("127.0.0.0/8 [::1]/128", "::2"));
  EXPECT_TRUE(Admits("192.0.2.128/25", "192.0.2.200"));
  EXPECT_FALSE(Admits("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(Admits("192.0.2.1", "192.0.2.1"));
  EXPECT_TRUE(Admits("[fe80::]/10", "febf::1"));
  EXPECT_FALSE(Admits("[fe80::]/10", "fec0::1"));
  EXPECT_TRUE(Admits("0.0.0.0/0", "8.8.8.8"));
  EXPECT_FALSE(Admits("0.0.0.0/0", "::1"));
  EXPECT_FALSE(Admits("", "127.0.0.1"));
}

TEST(Networks, TheFirstPatternDecides) {
  EXPECT_FALSE(Admits("!192.0.2.7, 192.0.2.0/24", "192.0.2.7"));
  EXPECT_TRUE(Admits("!192.0.2.7, 192.0.2.0/24", "192.0.2.8"));
  EXPECT_TRUE(Admits("192.0.2.0/24 !192.0.2.7", "192.0.2.7"));
}

TEST(Networks, BadPatternsAreRefusedByName) {
  for (const char* bad : {"127.0.0.1/8", "1.2.3.4/33", "[::1]/129", "host.example", "/etc/nets",
                          "hash:/etc/nets", "[::1", "1.2.3/8", "::1/128", "10.0.0.0/"}) {
    EXPECT_FALSE(NetworkList::Parse(bad).ok()) << bad;
  }
  EXPECT_THAT(std::string(NetworkList::Parse("127.0.0.1/8").status().message()),
              HasSubstr("perhaps you should use \"127.0.0.0/8\" instead"));
}

}  // namespace
}  // namespace mailrace::engine::config
