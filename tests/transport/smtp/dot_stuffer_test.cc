#include "transport/smtp/dot_stuffer.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

// "" if it was refused.
std::string Stuff(std::string_view content, size_t split, std::string* problem = nullptr) {
  DotStuffer stuffer(false);
  Buffer out;
  const bool ok = stuffer.Append(content.substr(0, split), &out) &&
                  stuffer.Append(content.substr(split), &out) && stuffer.Finish(&out);
  if (problem != nullptr) *problem = stuffer.problem();
  return ok ? std::string(out.view()) : "";
}

void ExpectStuffed(std::string_view content, std::string_view wanted) {
  for (size_t split = 0; split <= content.size(); ++split) {
    EXPECT_EQ(Stuff(content, split), wanted) << "split at " << split;
  }
}

void ExpectRefused(std::string_view content, std::string_view wanted) {
  for (size_t split = 0; split <= content.size(); ++split) {
    std::string problem;
    EXPECT_EQ(Stuff(content, split, &problem), "") << "split at " << split;
    EXPECT_EQ(problem, wanted) << "split at " << split;
  }
}

TEST(DotStuffer, DoublesADotThatBeginsALine) {
  ExpectStuffed("a\r\n.b\r\n", "a\r\n..b\r\n.\r\n");
  ExpectStuffed(".\r\n", "..\r\n.\r\n");
  ExpectStuffed("..\r\n.\r\n...", "...\r\n..\r\n....\r\n.\r\n");
  ExpectStuffed("a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n");
}

// RFC 3030 2: the octets of BDAT are counted, and what they are is their own affair.
TEST(DotStuffer, LeavesChunksAsTheyAre) {
  constexpr std::string_view kContent = ".\r\n..\r\n.";
  for (size_t split = 0; split <= kContent.size(); ++split) {
    DotStuffer gate(false, DotStuffer::Framing::kChunks);
    Buffer out;
    ASSERT_TRUE(gate.Append(kContent.substr(0, split), &out));
    ASSERT_TRUE(gate.Append(kContent.substr(split), &out));
    ASSERT_TRUE(gate.Finish(&out));
    EXPECT_EQ(out.view(), ".\r\n..\r\n.\r\n") << "split at " << split;
  }
}

TEST(DotStuffer, AddsALineEndOnlyWhereThereIsNone) {
  ExpectStuffed("a\r\n", "a\r\n.\r\n");
  ExpectStuffed("a", "a\r\n.\r\n");
  ExpectStuffed("a\r\n\r\n", "a\r\n\r\n.\r\n");
  ExpectStuffed("\r\n", "\r\n.\r\n");
  ExpectStuffed("", ".\r\n");
}

TEST(DotStuffer, RefusesWhatANextHopMightReadAsALineEnd) {
  ExpectRefused("a\nb", "bare LF");
  ExpectRefused("\n", "bare LF");
  ExpectRefused("a\rb", "bare CR");
  ExpectRefused("a\r", "bare CR");
  ExpectRefused("a\r\r\nb", "bare CR");
  ExpectRefused("a\r\n\nb", "bare LF");
}

// The sequences of the SMTP smuggling reports (2023), as content.
TEST(DotStuffer, RefusesEverySmugglingSequence) {
  using namespace std::string_view_literals;
  for (const std::string_view sequence :
       {"\n.\n"sv, "\n.\r"sv, "\r.\n"sv, "\r.\r"sv, "\n.\r\n"sv, "\r.\r\n"sv, "\r\n.\n"sv,
        "\r\n.\r"sv, "\r\n\0.\r\n"sv, "\r\n.\0\r\n"sv, "\r\n.\r\r\n"sv, "\r\r\n.\r\r\n"sv,
        "\r\n.\r\0\n"sv}) {
    const std::string content = "a" + std::string(sequence) + "MAIL FROM:<x@y>\r\n";
    for (size_t split = 0; split <= content.size(); ++split) {
      EXPECT_EQ(Stuff(content, split), "") << "sequence " << testing::PrintToString(sequence);
    }
  }
}

TEST(DotStuffer, TheTrueEndOfDataInContentIsStuffed) {
  ExpectStuffed("a\r\n.\r\nMAIL FROM:<x@y>\r\n", "a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n");
}

TEST(DotStuffer, RefusesNul) { ExpectRefused(std::string_view("a\0b\r\n", 5), "NUL"); }

TEST(DotStuffer, TakesLinesOf998OctetsAndNotOfMore) {
  const std::string line(998, 'x');
  ExpectStuffed(line + "\r\n" + line, line + "\r\n" + line + "\r\n.\r\n");
  ExpectStuffed("." + std::string(997, 'x'), ".." + std::string(997, 'x') + "\r\n.\r\n");
  ExpectRefused(line + "x\r\n", "line over 998 octets");
  ExpectRefused(line + "x", "line over 998 octets");
}

TEST(DotStuffer, TakesEightBitOctetsOnlyWhereTheServerDoes) {
  ExpectRefused("gr\xc3\xbc\xc3\x9f\r\n", "8-bit octet");
  DotStuffer stuffer(true);
  Buffer out;
  EXPECT_TRUE(stuffer.Append("gr\xc3\xbc\xc3\x9f\r\n", &out));
  EXPECT_EQ(out.view(), "gr\xc3\xbc\xc3\x9f\r\n");
}

}  // namespace
}  // namespace mailrace::transport::smtp
