#include "base/address.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr AddressRules kStrict{};
constexpr AddressRules kUtf8{.allow_utf8 = true};
constexpr AddressRules kBare{.require_domain = false};
constexpr AddressRules kReverse{.allow_null_reverse_path = true};

std::string Path(std::string_view path, const AddressRules& rules = kStrict) {
  const absl::StatusOr<MailAddress> address = ParsePath(path, rules);
  return address.ok() ? address->ToString() : "refused";
}

TEST(ParsePath, TakesLocalPartAndDomainAsWritten) {
  const auto address = ParsePath("<John.Doe@Example.ORG>", kStrict);
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->local_part, "John.Doe");
  EXPECT_EQ(address->domain, "Example.ORG");
}

TEST(ParsePath, TakesEveryAtextCharacter) {
  EXPECT_EQ(Path("<!#$%&'*+-/=?^_`{|}~aZ09@example.org>"), "!#$%&'*+-/=?^_`{|}~aZ09@example.org");
}

TEST(ParsePath, KeepsQuotedLocalParts) {
  for (const char* local : {R"("a b")", R"("")", R"("a@b")", R"("<>")", R"("a\"b")", R"("a\\")",
                            R"("..")", R"("\ ")", R"("DATA")"}) {
    const std::string path = std::string("<") + local + "@example.org>";
    const auto address = ParsePath(path, kStrict);
    ASSERT_TRUE(address.ok()) << path << address.status();
    EXPECT_EQ(address->local_part, local);
    EXPECT_EQ(address->domain, "example.org");
  }
}

TEST(ParsePath, TakesDomains) {
  const std::string label(63, 'a');
  for (const std::string& domain :
       {std::string("localhost"), std::string("a.b"), std::string("1.2.example"),
        std::string("xn--mller-kva.example"), std::string("a-b.c--d.example"),
        std::string("my_host.example"), label + "." + label + "." + label + ".example"}) {
    EXPECT_EQ(Path("<u@" + domain + ">"), "u@" + domain);
  }
}

TEST(ParsePath, TakesAddressLiterals) {
  for (const char* domain : {"[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::1]"}) {
    EXPECT_EQ(Path(std::string("<u@") + domain + ">"), std::string("u@") + domain);
  }
}

TEST(ParsePath, DropsSourceRoutes) {
  EXPECT_EQ(Path("<@relay.example:u@example.org>"), "u@example.org");
  EXPECT_EQ(Path("<@a.example,@b.example:u@example.org>"), "u@example.org");
  EXPECT_EQ(Path("<@[192.0.2.1]:u@example.org>"), "u@example.org");
  EXPECT_EQ(Path("<@[IPv6:::1]:u@example.org>"), "u@example.org");
}

TEST(ParsePath, RefusesWhatTheGrammarDoesNotHave) {
  for (const char* path : {
           "",
           "<",
           ">",
           "u@example.org",
           "<u@example.org",
           "u@example.org>",
           "<@>",
           "<u@>",
           "<@example.org>",
           "<.u@example.org>",
           "<u.@example.org>",
           "<u..v@example.org>",
           "<u v@example.org>",
           "<u@v@example.org>",
           "<(c)u@example.org>",
           "<u,v@example.org>",
           "<u:v@example.org>",
           "<u;v@example.org>",
           "<u\\v@example.org>",
           "<\"u@example.org>",
           "<\"u\"v@example.org>",
           "<u\"v\"@example.org>",
           "<\"u\\\"@x.org>",
           "<u@-a.org>",
           "<u@a-.org>",
           "<u@a-.>",
           "<u@a..b>",
           "<u@.a>",
           "<u@a.>",
           "<u@a b>",
           "<u@a/b>",
           "<u@[]>",
           "<u@[192.0.2.1>",
           "<u@192.0.2.1]>",
           "<u@[192.0.2.1]x>",
           "<u@[192.0.2.256]>",
           "<u@[192.0.2]>",
           "<u@[2001:db8::1]>",
           "<u@[IPv6:192.0.2.1]>",
           "<u@[x-tag:1]>",
           "<u@[192.0.2.1 ]>",
           "<@a:>",
           "<@a>",
           "<@a,b:u@example.org>",
           "<@a,:u@example.org>",
           "<@a;@b:u@example.org>",
           "<@a:u@example.org:v@example.org>",
           "<u@example.org> ",
           " <u@example.org>",
           "<<u@example.org>>",
           "<u@example.org>>",
           "<u@example.org><v@example.org>",
           "<u>",
           "<>",
       }) {
    EXPECT_EQ(Path(path), "refused") << path;
  }
}

// I-03: controls never pass, not in quotes, not behind a backslash, under no rule.
TEST(ParsePath, RefusesEveryControlEverywhere) {
  for (int octet = 0; octet < 256; ++octet) {
    if (octet >= 0x20 && octet < 0x7f) continue;
    const std::string c(1, static_cast<char>(octet));
    for (const std::string& path :
         {"<a" + c + "b@example.org>", "<\"a" + c + "b\"@example.org>",
          "<\"a\\" + c + "b\"@example.org>", "<a@exa" + c + "mple.org>", "<a@example.org" + c + ">",
          c + "<a@example.org>", "<a@example.org>" + c, "<@r" + c + ":a@example.org>",
          "<a@[192.0.2.1" + c + "]>"}) {
      EXPECT_EQ(Path(path), "refused") << octet;
      EXPECT_EQ(Path(path, kUtf8), "refused") << octet;
    }
  }
}

TEST(ParsePath, SmuggledCommandsAreRefused) {
  EXPECT_EQ(Path("<a@x>\r\nRCPT TO:<evil@x>"), "refused");
  EXPECT_EQ(Path("<\"a\r\nDATA\"@x>"), "refused");
}

TEST(ParsePath, HoldsTheLimitsOfLength) {
  const std::string label(63, 'd');
  EXPECT_NE(Path("<" + std::string(64, 'a') + "@example.org>"), "refused");
  EXPECT_EQ(Path("<" + std::string(65, 'a') + "@example.org>"), "refused");
  EXPECT_EQ(Path("<\"" + std::string(63, 'a') + "\"@example.org>"), "refused");
  EXPECT_EQ(Path("<u@" + label + "d.org>"), "refused");
  // 254 in all: 1 + 1 + 3 * 64 + 60.
  const std::string domain = label + "." + label + "." + label + "." + std::string(60, 'd');
  EXPECT_NE(Path("<u@" + domain + ">"), "refused");
  EXPECT_EQ(Path("<uu@" + domain + ">"), "refused");
  EXPECT_EQ(Path("<u@" + std::string(100'000, 'd') + ">"), "refused");
}

TEST(ParsePath, NullReversePathOnlyWhereAllowed) {
  const auto null_path = ParsePath("<>", kReverse);
  ASSERT_TRUE(null_path.ok());
  EXPECT_EQ(null_path->ToString(), "");
  EXPECT_FALSE(ParsePath("<>", kStrict).ok());
  EXPECT_FALSE(ParsePath("< >", kReverse).ok());
}

TEST(ParsePath, ADomainIsRequiredUnlessTheRulesSayOtherwise) {
  EXPECT_EQ(Path("<postmaster>"), "refused");
  EXPECT_EQ(Path("<Postmaster>", kBare), "Postmaster");
  EXPECT_EQ(Path("<Postmaster@>", kBare), "refused");
}

TEST(ParsePath, Utf8OnlyWhereAllowed) {
  for (const char* path :
       {"<jos\xc3\xa9@example.org>", "<u@m\xc3\xbcller.example>",
        "<\"\xe6\x97\xa5 \xe6\x9c\xac\"@example.org>", "<\xf0\x9f\x93\xa7@example.org>"}) {
    EXPECT_EQ(Path(path), "refused");
    EXPECT_EQ("<" + Path(path, kUtf8) + ">", path);
  }
}

TEST(ParsePath, RefusesMalformedAndDeceptiveUtf8) {
  for (const char* sequence :
       {"\xc3", "\xa9", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
        "\xc2\x85",         // C1: next line.
        "\xe2\x80\xa8",     // Line separator.
        "\xe2\x80\xae",     // Right-to-left override.
        "\xe2\x81\xa6"}) {  // Left-to-right isolate.
    const std::string s = sequence;
    EXPECT_EQ(Path("<a" + s + "b@example.org>", kUtf8), "refused");
    EXPECT_EQ(Path("<\"a" + s + "\"@example.org>", kUtf8), "refused");
    EXPECT_EQ(Path("<a@b" + s + "c.org>", kUtf8), "refused");
  }
}

TEST(ParsePath, ErrorsFitAReplyAndRepeatNothingOfThePeers) {
  for (const char* path : {"<evil\r\n250@x>", "", "<@>", "<u@a..b>", "<\"u@x>"}) {
    const auto address = ParsePath(path, kStrict);
    ASSERT_FALSE(address.ok());
    const std::string words(address.status().message().data(), address.status().message().size());
    EXPECT_TRUE(IsAscii(words));
    EXPECT_THAT(words, Not(HasSubstr("\n")));
    EXPECT_THAT(words, Not(HasSubstr("evil")));
    EXPECT_LT(words.size(), 100u);
  }
}

TEST(ParseAddress, TakesABareAddress) {
  EXPECT_EQ(ParseAddress("u@example.org", kStrict)->ToString(), "u@example.org");
  EXPECT_EQ(ParseAddress("\"a b\"@[192.0.2.1]", kStrict)->ToString(), "\"a b\"@[192.0.2.1]");
  EXPECT_EQ(ParseAddress("root", kBare)->local_part, "root");
  EXPECT_EQ(ParseAddress("", kReverse)->ToString(), "");
  EXPECT_EQ(ParseAddress("<>", kReverse)->ToString(), "");
}

TEST(ParseAddress, RefusesPathsAndOptions) {
  for (const char* address : {"", "<>", "<u@example.org>", "@a:u@example.org", "u@example.org ",
                              "-oQ/tmp -X/x a@b", "u@example.org,v@example.org"}) {
    EXPECT_FALSE(ParseAddress(address, kStrict).ok()) << address;
  }
}

TEST(Utf8, TellsWellFormedFromMalformed) {
  for (const char* text :
       {"", "ascii", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsValidUtf8(text)) << text;
  }
  for (const char* text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xe1\x80",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xfe", "\xff", "ok\xc3"}) {
    EXPECT_FALSE(IsValidUtf8(text)) << text;
  }
  EXPECT_TRUE(IsAscii("\x7f"));
  EXPECT_FALSE(IsAscii("a\x80"));
}

TEST(Xtext, DecodesPlusAndHex) {
  EXPECT_EQ(*DecodeXtext(""), "");
  EXPECT_EQ(*DecodeXtext("QQ314159"), "QQ314159");
  EXPECT_EQ(*DecodeXtext("rfc822;Ned+20Freed+40example.org"), "rfc822;Ned Freed@example.org");
  EXPECT_EQ(*DecodeXtext("+2B+3D"), "+=");
  EXPECT_EQ(*DecodeXtext("+2b"), "+");
}

TEST(Xtext, RefusesBadFormsAndControls) {
  for (const char* text : {"+", "+4", "+4G", "+G4", "++41", "a=b", "a b", "a\tb", "\x7f",
                           "\xc3\xa9", "+00", "+0D+0A", "+0a", "+1F", "+7F", "a+"}) {
    EXPECT_FALSE(DecodeXtext(text).ok()) << text;
  }
  EXPECT_FALSE(DecodeXtext(std::string_view("a\0b", 3)).ok());
}

TEST(Xtext, EncodedTextDecodesToItself) {
  std::string all;
  for (int octet = 0x20; octet < 256; ++octet) {
    if (octet != 0x7f) all.push_back(static_cast<char>(octet));
  }
  const std::string encoded = EncodeXtext(all);
  EXPECT_TRUE(IsAscii(encoded));
  EXPECT_EQ(*DecodeXtext(encoded), all);
  EXPECT_EQ(EncodeXtext("a+b=c d"), "a+2Bb+3Dc+20d");
}

}  // namespace
}  // namespace mailrace
