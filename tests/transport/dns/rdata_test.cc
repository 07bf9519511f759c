#include "transport/dns/rdata.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::dns {
namespace {

using testing::ElementsAre;

const std::string kMail("\4mail\2ex\4test\0", 14);

TEST(Rdata, Names) {
  EXPECT_EQ(ParseName(kMail), "mail.ex.test");
  EXPECT_EQ(ParseName(std::string(1, '\0')), "");
}

TEST(Rdata, EveryPrefixOfANameIsRefused) {
  for (size_t size = 0; size < kMail.size(); ++size) {
    EXPECT_EQ(ParseName(kMail.substr(0, size)), std::nullopt) << size;
  }
  EXPECT_EQ(ParseName(kMail + "x"), std::nullopt);
}

TEST(Rdata, NamesThatAreNoHostsAreRefused) {
  EXPECT_EQ(ParseName(std::string("\xc0\x0c", 2)), std::nullopt) << "compression";
  EXPECT_EQ(ParseName(std::string("\3a.b\0", 5)), std::nullopt) << "a dot inside a label";
  EXPECT_EQ(ParseName(std::string("\3a\nb\0", 5)), std::nullopt);
  EXPECT_EQ(ParseName(std::string("\3a\0b\0", 5)), std::nullopt);
  EXPECT_EQ(ParseName(std::string("\3a b\0", 5)), std::nullopt);
  std::string longest;
  for (int i = 0; i < 5; ++i) longest += '\x3f' + std::string(63, 'a');
  EXPECT_EQ(ParseName(longest + '\0'), std::nullopt);
}

TEST(Rdata, MailExchangers) {
  EXPECT_EQ(ParseMx(std::string("\1\2", 2) + kMail), (MxRecord{258, "mail.ex.test"}));
  EXPECT_EQ(ParseMx(std::string("\0\0\0", 3)), (MxRecord{0, ""})) << "null MX, RFC 7505";
  EXPECT_EQ(ParseMx(""), std::nullopt);
  EXPECT_EQ(ParseMx(std::string("\0\0", 2)), std::nullopt);
}

TEST(Rdata, AddressesHave4Or16Octets) {
  EXPECT_EQ(ParseAddress("\x7f\1\1\1")->ToString(), "127.1.1.1");
  EXPECT_EQ(ParseAddress(std::string(15, '\0') + "\1")->ToString(), "::1");
  for (size_t size : {0, 3, 5, 15, 17}) {
    EXPECT_EQ(ParseAddress(std::string(size, 'x')), std::nullopt);
  }
}

TEST(Rdata, NamesToAskFor) {
  EXPECT_EQ(CheckedName("mail.ex.test").value(), "mail.ex.test");
  EXPECT_EQ(CheckedName("mail.ex.test.").value(), "mail.ex.test");
  EXPECT_EQ(CheckedName("_dmarc.ex.test").value(), "_dmarc.ex.test");
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("a..b"), std::string(".a"),
        std::string("a b"), std::string("a\nb"), std::string("a\0b", 3), std::string(64, 'a'),
        std::string("a/b"), std::string("a\\b")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckedName(bad).status())) << bad;
  }
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_TRUE(CheckedName(longest.substr(0, 253)).ok());
  EXPECT_FALSE(CheckedName(longest + "a").ok());
}

TEST(Rdata, FamiliesComeByTurns) {
  const auto ip = [](std::string_view text) { return *IpAddress::Parse(text); };
  EXPECT_THAT(Interleave({ip("::1"), ip("::2"), ip("::3")}, {ip("127.0.0.1")}),
              ElementsAre(ip("::1"), ip("127.0.0.1"), ip("::2"), ip("::3")));
  EXPECT_THAT(Interleave({}, {ip("127.0.0.1")}), ElementsAre(ip("127.0.0.1")));
}

}  // namespace
}  // namespace mailrace::transport::dns
