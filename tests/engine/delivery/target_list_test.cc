// Which address is tried when, and which are passed by.
#include "engine/delivery/target_list.h"

#include <gmock/gmock.h>

#include <set>

#include "engine/delivery/dead_addresses.h"

namespace mailrace::engine {
namespace {

using ::testing::ElementsAre;

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

// "preference:address", in the order to try.
std::vector<std::string> Texts(const std::vector<Target>& targets) {
  std::vector<std::string> texts;
  for (const Target& target : targets) {
    texts.push_back(std::to_string(target.preference) + ":" + target.ip.ToString());
  }
  return texts;
}

class TargetListTest : public ::testing::Test {
 protected:
  TargetListTest() { rules_.smtp_randomize_addresses = false; }
  std::vector<std::string> Ordered(std::vector<Target> targets) {
    OrderTargets(
        rules_, &random_, [this](const Target& target) { return dead_.contains(target.ip); },
        &targets);
    return Texts(targets);
  }

  TargetRules rules_;
  SeededRandom random_{1};
  std::set<IpAddress> dead_;
};

TEST_F(TargetListTest, PreferenceFirstThenTheOrderOfTheAnswer) {
  EXPECT_THAT(
      Ordered({{"b", Ip("192.0.2.2"), 20}, {"a", Ip("192.0.2.1"), 10}, {"c", Ip("192.0.2.3"), 10}}),
      ElementsAre("10:192.0.2.1", "10:192.0.2.3", "20:192.0.2.2"));
}

TEST_F(TargetListTest, EqualsAreShuffledUnlessForbidden) {
  rules_.smtp_randomize_addresses = true;
  std::set<std::vector<std::string>> seen;
  for (int i = 0; i < 100; ++i) {
    seen.insert(Ordered(
        {{"a", Ip("192.0.2.1"), 10}, {"b", Ip("192.0.2.2"), 10}, {"c", Ip("192.0.2.3"), 20}}));
  }
  EXPECT_THAT(seen, ElementsAre(ElementsAre("10:192.0.2.1", "10:192.0.2.2", "20:192.0.2.3"),
                                ElementsAre("10:192.0.2.2", "10:192.0.2.1", "20:192.0.2.3")));
}

TEST_F(TargetListTest, ThePreferredIpVersionComesFirstWithinAPreference) {
  const std::vector<Target> targets = {{"a", Ip("192.0.2.1"), 10},
                                       {"b", Ip("2001:db8::1"), 10},
                                       {"c", Ip("192.0.2.3"), 20},
                                       {"d", Ip("2001:db8::2"), 20}};
  using Prefer = TargetRules::Prefer;
  EXPECT_THAT(Ordered(targets),
              ElementsAre("10:192.0.2.1", "10:2001:db8::1", "20:192.0.2.3", "20:2001:db8::2"));
  rules_.smtp_address_preference = Prefer::kIpv6;
  EXPECT_THAT(Ordered(targets),
              ElementsAre("10:2001:db8::1", "10:192.0.2.1", "20:2001:db8::2", "20:192.0.2.3"));
  rules_.smtp_address_preference = Prefer::kIpv4;
  EXPECT_THAT(Ordered(targets),
              ElementsAre("10:192.0.2.1", "10:2001:db8::1", "20:192.0.2.3", "20:2001:db8::2"));
}

TEST_F(TargetListTest, TheLimitKeepsRoomForBothIpVersions) {
  // How many of each there are, and how many are kept of five.
  struct Row {
    int v6, v4, kept_v6, kept_v4;
  };
  for (const Row& row : std::vector<Row>{{6, 0, 5, 0},
                                         {6, 1, 4, 1},
                                         {6, 2, 3, 2},
                                         {6, 6, 3, 2},
                                         {2, 6, 2, 3},
                                         {1, 9, 1, 4},
                                         {2, 3, 2, 3}}) {
    std::vector<Target> targets;
    for (int i = 0; i < row.v6; ++i) {
      targets.push_back({"x", Ip("2001:db8::" + std::to_string(i + 1)), 10});
    }
    for (int i = 0; i < row.v4; ++i) {
      targets.push_back({"x", Ip("192.0.2." + std::to_string(i + 1)), 10});
    }
    int v6 = 0;
    int v4 = 0;
    for (const std::string& text : Ordered(targets)) {
      ++(text.find("2001") == std::string::npos ? v4 : v6);
    }
    EXPECT_EQ(v6, row.kept_v6) << row.v6 << " " << row.v4;
    EXPECT_EQ(v4, row.kept_v4) << row.v6 << " " << row.v4;
  }
  rules_.smtp_balance_inet_protocols = false;
  rules_.smtp_mx_address_limit = 1;
  EXPECT_THAT(Ordered({{"a", Ip("2001:db8::1"), 10}, {"a", Ip("192.0.2.1"), 10}}),
              ElementsAre("10:2001:db8::1"));
  rules_.smtp_mx_address_limit = 0;
  EXPECT_EQ(Ordered(std::vector<Target>(40, {"a", Ip("192.0.2.1"), 10})).size(), 40u);
}

TEST_F(TargetListTest, TheDeadComeLastButAreNotForgotten) {
  dead_ = {Ip("192.0.2.1"), Ip("192.0.2.3")};
  EXPECT_THAT(
      Ordered({{"a", Ip("192.0.2.1"), 10}, {"b", Ip("192.0.2.2"), 20}, {"c", Ip("192.0.2.3"), 30}}),
      ElementsAre("20:192.0.2.2", "10:192.0.2.1", "30:192.0.2.3"));
}

TEST_F(TargetListTest, WhoIsAnExchangerItselfLooksAtBetterOnesOnly) {
  rules_.own.listeners = {*SocketAddress::Parse("192.0.2.2:25")};
  rules_.own.proxies = {Ip("192.0.2.7")};
  const std::vector<Target> all = {{"a", Ip("192.0.2.1"), 10},
                                   {"us", Ip("192.0.2.2"), 20},
                                   {"b", Ip("192.0.2.3"), 20},
                                   {"c", Ip("192.0.2.4"), 30}};
  std::vector<Target> targets = all;
  EXPECT_TRUE(TruncateAtSelf(rules_, 25, &targets));
  EXPECT_THAT(Texts(targets), ElementsAre("10:192.0.2.1"));
  targets = all;
  EXPECT_FALSE(TruncateAtSelf(rules_, 26, &targets)) << "nobody listens there";
  EXPECT_EQ(targets.size(), 4u);
  targets = {{"a", Ip("192.0.2.7"), 10}};
  EXPECT_TRUE(TruncateAtSelf(rules_, 25, &targets));
  EXPECT_TRUE(targets.empty());
}

TEST(OwnAddressesTest, AWildcardIsEveryAddressOfTheHost) {
  const auto own =
      ExpandWildcards({*SocketAddress::Parse("0.0.0.0:2525"), *SocketAddress::Parse("192.0.2.9:25"),
                       *SocketAddress::Parse("127.0.0.1:0")});
  const OwnAddresses addresses{own, {}};
  EXPECT_TRUE(addresses.Contain(*SocketAddress::Parse("127.0.0.1:2525")));
  EXPECT_TRUE(addresses.Contain(*SocketAddress::Parse("192.0.2.9:25")));
  EXPECT_FALSE(addresses.Contain(*SocketAddress::Parse("127.0.0.1:25")));
  EXPECT_FALSE(addresses.Contain(*SocketAddress::Parse("0.0.0.0:2525")));
}

class DeadAddressesTest : public ::testing::Test {
 protected:
  static MonoTime At(int seconds) { return MonoTime() + absl::Seconds(seconds); }
  const SocketAddress one_ = *SocketAddress::Parse("192.0.2.1:25");
  const SocketAddress same_ip_ = *SocketAddress::Parse("192.0.2.1:587");
  DeadAddresses dead_;
};

TEST_F(DeadAddressesTest, WhoFailsIsPassedByForAWhileThatGrows) {
  dead_.Failed(one_, At(0));
  dead_.Failed(one_, At(1));  // Was on its way together with the first: no second time.
  EXPECT_TRUE(dead_.Dead(one_, At(30)));
  EXPECT_FALSE(dead_.Dead(one_, At(31)));
  EXPECT_FALSE(dead_.Dead(same_ip_, At(0)));
  dead_.Failed(one_, At(40));
  EXPECT_TRUE(dead_.Dead(one_, At(99)));
  EXPECT_FALSE(dead_.Dead(one_, At(100)));
  for (int i = 1; i < 20; ++i) dead_.Failed(one_, At(i * 1000));
  EXPECT_TRUE(dead_.Dead(one_, At(19'599)));
  EXPECT_FALSE(dead_.Dead(one_, At(19'600)));
}

TEST_F(DeadAddressesTest, OneTriesItAgainForAll) {
  dead_.Failed(one_, At(0));
  dead_.Trying(one_, At(60), absl::Seconds(30));
  EXPECT_TRUE(dead_.Dead(one_, At(89)));
  dead_.Answered(one_);
  EXPECT_FALSE(dead_.Dead(one_, At(61)));
  EXPECT_EQ(dead_.size(), 0u);
  dead_.Trying(one_, At(62), absl::Seconds(30));
  EXPECT_FALSE(dead_.Dead(one_, At(62))) << "who is well is not passed by while it is tried";
}

TEST_F(DeadAddressesTest, HoldsNoMoreThanItsLimit) {
  for (uint16_t port = 1; port <= 3000; ++port) dead_.Failed({one_.ip, port}, At(0));
  EXPECT_EQ(dead_.size(), DeadAddresses::kKept);
  dead_.Failed({one_.ip, 4000}, At(1000));
  EXPECT_EQ(dead_.size(), 1u) << "whose pause is over is forgotten first";
}

}  // namespace
}  // namespace mailrace::engine
