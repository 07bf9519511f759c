#include "engine/bounces/dsn_text.h"

#include <vector>

#include "base/address.h"
#include "gmock/gmock.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find("\r\n");
    if (end == std::string_view::npos) {
      ADD_FAILURE() << "no CRLF at the end";
      break;
    }
    lines.emplace_back(text.substr(0, end));
    EXPECT_EQ(lines.back().find_first_of("\r\n"), std::string::npos);
    text.remove_prefix(end + 2);
  }
  return lines;
}

std::string Folded(std::string_view line) {
  std::string out;
  AppendFolded(&out, line);
  return out;
}

std::string Original(std::string_view text) {
  std::string out;
  AppendOriginal(&out, text);
  return out;
}

TEST(OneLineTest, LineBreaksBecomeOneSpace) {
  EXPECT_EQ(OneLine("550 no\r\nBcc: x@example.com\r\n\r\nbody\n", false, 1000),
            "550 no Bcc: x@example.com body");
  EXPECT_EQ(OneLine("a\rb\nc\td", false, 1000), "a b c d");
  EXPECT_EQ(OneLine("\r\n", false, 1000), "");
}

TEST(OneLineTest, ControlsAndHighOctetsBecomeQuestionMarks) {
  EXPECT_EQ(OneLine(std::string_view("a\0b\x1b[31mc\x7f", 10), false, 1000), "a?b?[31mc?");
  EXPECT_EQ(OneLine("caf\xc3\xa9", false, 1000), "caf??");
  EXPECT_EQ(OneLine("caf\xc3\xa9", true, 1000), "caf\xc3\xa9");
  EXPECT_EQ(OneLine("caf\xc3", true, 1000), "caf?");
  EXPECT_EQ(OneLine("\xed\xa0\x80", true, 1000), "???");
}

TEST(OneLineTest, IsCutVisiblyAndNeverWithinACharacter) {
  EXPECT_EQ(OneLine("0123456789", false, 10), "0123456789");
  EXPECT_EQ(OneLine("0123456789x", false, 10), "0123456...");
  EXPECT_EQ(OneLine(std::string(1'000'000, 'x'), false, 100).size(), 100u);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "\xf0\x9f\x93\xac";
  for (size_t octets = 4; octets < text.size(); ++octets) {
    const std::string cut = OneLine(text, true, octets);
    EXPECT_TRUE(IsValidUtf8(cut)) << octets;
    EXPECT_LE(cut.size(), octets);
  }
}

TEST(AppendFoldedTest, ShortLineStaysWhole) {
  EXPECT_EQ(Folded("Diagnostic-Code: smtp; 550 no"), "Diagnostic-Code: smtp; 550 no\r\n");
  EXPECT_EQ(Folded(""), "\r\n");
}

TEST(AppendFoldedTest, FoldsAtSpacesAndLosesNoWord) {
  std::string words;
  for (int i = 0; i < 60; ++i) words += "word" + std::to_string(i) + " ";
  words.pop_back();
  std::string joined;
  for (const std::string& line : Lines(Folded(words))) {
    EXPECT_LE(line.size(), 78u);
    EXPECT_NE(line.find_first_not_of(' '), std::string::npos);
    joined += (joined.empty() ? "" : " ") + line.substr(line.find_first_not_of(' '));
  }
  EXPECT_EQ(joined, words);
}

TEST(AppendFoldedTest, BreaksWordsThatAreLongerThanALine) {
  for (const std::string& line : Lines(Folded(std::string(5000, 'x')))) {
    EXPECT_LE(line.size(), 78u);
  }
}

TEST(AppendFoldedTest, ManySpacesMakeNoBlankLine) {
  for (const std::string& text :
       {"a" + std::string(500, ' ') + "b", std::string(77, 'x') + std::string(10, ' ') + "y",
        std::string(200, ' ') + "x"}) {
    const std::vector<std::string> lines = Lines(Folded(text));
    for (size_t i = 1; i < lines.size(); ++i) {
      EXPECT_NE(lines[i].find_first_not_of(' '), std::string::npos);
    }
  }
}

TEST(AppendOriginalTest, EveryLineEndBecomesCrlf) {
  EXPECT_EQ(Original("a\nb\r\nc\rd"), "a\r\nb\r\nc\r\nd\r\n");
  EXPECT_EQ(Original("a\r\n\r\nb\r\n"), "a\r\n\r\nb\r\n");
  EXPECT_EQ(Original(std::string_view("a\0b", 3)), "a?b\r\n");
  EXPECT_EQ(Original(""), "");
}

TEST(AppendOriginalTest, LongLinesAreContinued) {
  EXPECT_EQ(Original(std::string(998, 'x')), std::string(998, 'x') + "\r\n");
  EXPECT_THAT(Lines(Original(std::string(2000, 'x'))),
              ElementsAre(std::string(998, 'x'), " " + std::string(997, 'x'), " xxxxx"));
  std::string wide;
  while (wide.size() < 3000) wide += "\xe2\x82\xac";
  for (const std::string& line : Lines(Original(wide))) {
    EXPECT_LE(line.size(), kLineOctetsMax);
    EXPECT_TRUE(IsValidUtf8(line));
  }
}

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuotedPrintable(&out, text);
  return out;
}

TEST(QuotedPrintableTest, KeepsPlainTextAndQuotesTheRest) {
  EXPECT_EQ(Quoted("plain text\r\n"), "plain text\r\n");
  EXPECT_EQ(Quoted("a=b caf\xc3\xa9\r\n"), "a=3Db caf=C3=A9\r\n");
  // A blank at the end of a line would be lost on the way.
  EXPECT_EQ(Quoted("x \r\ny\t\r\nz "), "x=20\r\ny=09\r\nz=20");
}

TEST(QuotedPrintableTest, LongLinesGetSoftEnds) {
  for (const std::string& text : {std::string(1000, 'x'), std::string(1000, '\xe9')}) {
    for (const std::string& line : Lines(Quoted(text + "\r\n"))) EXPECT_LE(line.size(), 76u);
  }
  EXPECT_EQ(Quoted(std::string(76, 'x')), std::string(75, 'x') + "=\r\nx");
}

TEST(Utf8AddrTest, SevenBitFormOfRfc6533) {
  EXPECT_EQ(Utf8AddrXtext("user@example.net"), "user@example.net");
  EXPECT_EQ(Utf8AddrXtext("us\xc3\xa9r@\xe4\xbe\x8b.net"), "us\\x{E9}r@\\x{4F8B}.net");
  EXPECT_EQ(Utf8AddrXtext("\xf0\x9f\x93\xac@x"), "\\x{1F4EC}@x");
  EXPECT_EQ(Utf8AddrXtext("a+b=c\\d e"), "a\\x{2B}b\\x{3D}c\\x{5C}d\\x{20}e");
}

TEST(Utf8AddrTest, BothFormsAreUndone) {
  for (const char* address : {"us\xc3\xa9r@\xe4\xbe\x8b.net", "\xf0\x9f\x93\xac@x", "a+b=c\\d@x"}) {
    EXPECT_EQ(DecodeUtf8Addr(Utf8AddrXtext(address)), address);
  }
  EXPECT_EQ(DecodeUtf8Addr("us\xc3\xa9r\\x{2b}@x"), "us\xc3\xa9r+@x");
}

TEST(Utf8AddrTest, WhatIsNotWellFormedStays) {
  for (const char* text : {"\\x{}", "\\x{D800}", "\\x{110000}", "\\x{0A}", "\\x{0}", "\\x{85}",
                           "\\x{E9", "\\x{-1}", "\\xE9", "\\", "\\x{00000E9}"}) {
    EXPECT_EQ(DecodeUtf8Addr(text), text);
  }
}

TEST(DurationWordsTest, TheLargestUnitThatIsExact) {
  EXPECT_EQ(DurationWords(absl::Hours(4)), "4 hours");
  EXPECT_EQ(DurationWords(absl::Hours(120)), "5 days");
  EXPECT_EQ(DurationWords(absl::Hours(24)), "1 day");
  EXPECT_EQ(DurationWords(absl::Minutes(90)), "90 minutes");
  EXPECT_EQ(DurationWords(absl::Seconds(1)), "1 second");
  EXPECT_EQ(DurationWords(absl::ZeroDuration()), "0 seconds");
}

TEST(HeaderSectionTest, EndsBeforeTheBlankLine) {
  EXPECT_EQ(HeaderSectionOctets("A: 1\r\nB: 2\r\n\r\nbody", 1000), 12u);
  EXPECT_EQ(HeaderSectionOctets("A: 1\nB: 2\n\nbody", 1000), 10u);
  EXPECT_EQ(HeaderSectionOctets("\r\nbody", 1000), 0u);
  EXPECT_EQ(HeaderSectionOctets("", 1000), 0u);
}

TEST(HeaderSectionTest, IsCutAfterAWholeLine) {
  EXPECT_EQ(HeaderSectionOctets("A: 1\r\nB: 2\r\n\r\nbody", 11), 6u);
  EXPECT_EQ(HeaderSectionOctets("A: 1\r\nB: 2\r\n\r\nbody", 12), 12u);
  EXPECT_EQ(HeaderSectionOctets("A: 1\r\nB: half a li", 1000), 6u);
}

}  // namespace
}  // namespace mailrace::engine
