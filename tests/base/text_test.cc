#include "base/text.h"

#include <string>

#include "gtest/gtest.h"

namespace mailrace {
namespace {

TEST(Text, ChangesCaseOfAsciiOnly) {
  EXPECT_EQ(AsciiLowered("MAIL From:<\xc3\x84@X>"), "mail from:<\xc3\x84@x>");
  EXPECT_EQ(AsciiUppered("ehlo [z]{z}"), "EHLO [Z]{Z}");
  EXPECT_EQ(AsciiLower('@'), '@');
  EXPECT_EQ(AsciiLower('['), '[');
}

TEST(Text, ComparesIgnoringCase) {
  EXPECT_TRUE(EqualsIgnoreCase("StartTLS", "STARTTLS"));
  EXPECT_FALSE(EqualsIgnoreCase("STARTTLS", "STARTTL"));
  EXPECT_FALSE(EqualsIgnoreCase("@", "`"));
  EXPECT_TRUE(StartsWithIgnoreCase("auth plain", "AUTH "));
  EXPECT_FALSE(StartsWithIgnoreCase("aut", "AUTH"));
  EXPECT_TRUE(StartsWithIgnoreCase("x", ""));
}

TEST(Text, TrimsBothEnds) {
  EXPECT_EQ(Trim(" \t a b \r\n"), "a b");
  EXPECT_EQ(Trim(" \r\n"), "");
  EXPECT_EQ(Trim(""), "");
}

TEST(Text, ParsesUnsignedNumbersExactly) {
  EXPECT_EQ(ParseUint("0"), 0u);
  EXPECT_EQ(ParseUint("007"), 7u);
  EXPECT_EQ(ParseUint("18446744073709551615"), UINT64_MAX);
  for (const char* text :
       {"", "-1", "+1", " 1", "1 ", "1x", "0x1", "18446744073709551616", "1.0"}) {
    EXPECT_EQ(ParseUint(text), std::nullopt) << text;
  }
}

TEST(PlainOctets, EndAtTheFirstThatIsNotPrintableAscii) {
  EXPECT_EQ(PlainOctets(""), 0u);
  EXPECT_EQ(PlainOctets(" ~"), 2u);
  for (int octet = 0; octet < 256; ++octet) {
    const std::string text = std::string("ab") + static_cast<char>(octet);
    EXPECT_EQ(PlainOctets(text), octet >= 0x20 && octet < 0x7f ? 3u : 2u) << octet;
  }
}

TEST(Printable, KeepsTextAndWholeUtf8Characters) {
  EXPECT_EQ(Printable("250 2.0.0 Ok: gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa7"),
            "250 2.0.0 Ok: gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa7");
}

// I-10: one event is one line, and a terminal obeys none of it.
TEST(Printable, ControlsBecomeQuestionMarks) {
  EXPECT_EQ(Printable("a\r\nstatus=sent\x1b[2J\x7f\t"), "a??status=sent?[2J??");
  EXPECT_EQ(Printable(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(Printable("next\xc2\x85line\xe2\x80\xa8sep\xe2\x80\xa9"), "next?line?sep?");
}

TEST(Printable, OnlyTheMalformedOctetsAreLost) {
  EXPECT_EQ(Printable("\xc3\xbc\xff\xc3 \xe2\x82"), "\xc3\xbc?? ??");
}

TEST(Printable, IsCutBetweenCharacters) {
  const std::string text =
      "ab\xc3\xbc"
      "cd";
  EXPECT_EQ(Printable(text, 2), "ab");
  EXPECT_EQ(Printable(text, 3), "ab");
  EXPECT_EQ(Printable(text, 4), "ab\xc3\xbc");
  EXPECT_EQ(Printable(text, 0), "");
  EXPECT_EQ(Printable("a\nb\nc", 4), "a?b?") << "counted from where it stops to be plain, too";
  EXPECT_EQ(Printable(std::string(10'000, 'x')).size(), 4096u);
}

}  // namespace
}  // namespace mailrace
