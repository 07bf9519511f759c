// ContentScanner: what of a message's octets is content, and where it ends.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "transport/smtp/server_machine_content.h"

namespace mailrace::transport::smtp {
namespace {

using Problem = ContentScanner::Problem;

struct Scanned {
  bool ended = false;
  std::string content;
  std::string rest;
  Problem problem = Problem::kNone;
  bool eight_bit = false;
};

// Feeds `wire` in pieces that end at `cuts`.
Scanned Scan(std::string_view wire, const std::vector<size_t>& cuts,
             ContentScanner::Options options = {}) {
  ContentScanner scanner(options);
  Scanned result;
  size_t from = 0;
  std::vector<size_t> ends = cuts;
  ends.push_back(wire.size());
  for (const size_t end : ends) {
    std::string_view piece = wire.substr(from, end - from);
    from = end;
    if (!result.ended) result.ended = scanner.FeedData(&piece, &result.content);
    result.rest += piece;
  }
  result.problem = scanner.problem();
  result.eight_bit = scanner.eight_bit();
  return result;
}

// The same from one piece, from every two pieces and octet by octet.
void ExpectScanned(std::string_view wire, std::string_view content, std::string_view rest,
                   Problem problem, ContentScanner::Options options = {}) {
  std::vector<std::vector<size_t>> splits = {{}};
  for (size_t i = 0; i <= wire.size(); ++i) splits.push_back({i});
  splits.emplace_back();
  for (size_t i = 1; i < wire.size(); ++i) splits.back().push_back(i);
  for (const std::vector<size_t>& cuts : splits) {
    const Scanned scanned = Scan(wire, cuts, options);
    ASSERT_TRUE(scanned.ended) << testing::PrintToString(std::string(wire));
    EXPECT_EQ(scanned.rest, rest);
    ASSERT_EQ(scanned.problem, problem) << testing::PrintToString(cuts);
    if (problem == Problem::kNone) EXPECT_EQ(scanned.content, content);
  }
}

TEST(ContentScannerTest, EndsAtTheLoneDot) {
  ExpectScanned("a: b\r\n\r\ntext\r\n.\r\nQUIT\r\n", "a: b\r\n\r\ntext\r\n", "QUIT\r\n",
                Problem::kNone);
}

TEST(ContentScannerTest, AnEmptyMessageIsOnlyTheDot) {
  ExpectScanned(".\r\nRSET\r\n", "", "RSET\r\n", Problem::kNone);
}

TEST(ContentScannerTest, StuffedDotsAreTakenOff) {
  ExpectScanned("..\r\n..x\r\n.y\r\na.b.\r\n...\r\n.\r\n", ".\r\n.x\r\ny\r\na.b.\r\n..\r\n", "",
                Problem::kNone);
}

TEST(ContentScannerTest, ADotIsFoundBehindALineOfEveryLength) {
  for (size_t length = 0; length < 200; ++length) {
    const std::string line = std::string(length, 'x') + "\r\n";
    ExpectScanned(line + "..z\r\n.\r\n", line + ".z\r\n", "", Problem::kNone);
  }
}

// Each of them, between two halves that would be two messages to a looser server.
TEST(ContentScannerTest, NoSmugglingSequenceEndsTheData) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, Problem> kSequences[] = {
      {"\n.\n"sv, Problem::kBareNewline},       {"\n.\r"sv, Problem::kBareNewline},
      {"\r.\n"sv, Problem::kBareNewline},       {"\r.\r"sv, Problem::kBareNewline},
      {"\n.\r\n"sv, Problem::kBareNewline},     {"\r.\r\n"sv, Problem::kBareNewline},
      {"\r\n.\n"sv, Problem::kBareNewline},     {"\r\n.\r"sv, Problem::kBareNewline},
      {"\r\n\0.\r\n"sv, Problem::kNul},         {"\r\n.\0\r\n"sv, Problem::kNul},
      {"\r\n.\r\r\n"sv, Problem::kBareNewline}, {"\r\r\n.\r\r\n"sv, Problem::kBareNewline},
      {"\r\n.\r\0\n"sv, Problem::kBareNewline}};
  for (const auto& [sequence, problem] : kSequences) {
    const std::string wire =
        "s: t\r\n\r\nfirst" + std::string(sequence) +
        "MAIL FROM:<evil@x>\r\nRCPT TO:<e@x>\r\nDATA\r\nsecond\r\n.\r\nNOOP\r\n";
    ExpectScanned(wire, "", "NOOP\r\n", problem);
  }
}

TEST(ContentScannerTest, NormalizingRewritesLooseLineEndsAndStillNeedsTheStrictEnd) {
  const ContentScanner::Options normalize{.bare_newline = BareNewline::kNormalize};
  ExpectScanned("a\nb\r\n.\r\n", "a\r\nb\r\n", "", Problem::kNone, normalize);
  ExpectScanned("a\n.\nb\n.\r\nc\r\n.\nd\r\n.\r\n", "a\r\n\r\nb\r\n\r\nc\r\n\r\nd\r\n", "",
                Problem::kNone, normalize);
  ExpectScanned("a\rb\r\r\n.\r\n", "a b \r\n", "", Problem::kNone, normalize);
}

TEST(ContentScannerTest, LinesOf998OctetsPassAnd999DoNot) {
  for (const size_t length : {998u, 999u}) {
    const std::string line = std::string(length, 'x') + "\r\n";
    for (const std::string& before : {std::string(), std::string("short\r\n")}) {
      const Scanned scanned = Scan(before + line + "t\r\n.\r\n", {});
      EXPECT_EQ(scanned.problem, length > 998 ? Problem::kLongLine : Problem::kNone);
      const Scanned split = Scan(before + line + "t\r\n.\r\n", {500});
      EXPECT_EQ(split.problem, scanned.problem);
    }
  }
  const std::string stuffed = "." + std::string(1, '.') + std::string(997, 'x') + "\r\n.\r\n";
  EXPECT_EQ(Scan(stuffed, {}).problem, Problem::kNone);  // The stuffing does not count.
  EXPECT_EQ(Scan(std::string(5000, 'x') + "\r\n.\r\n", {}, {.line_octets_max = 0}).problem,
            Problem::kNone);
}

TEST(ContentScannerTest, ContentOverTheLimitIsReadToItsEndAndDropped) {
  ExpectScanned("12345678\r\n12345678\r\n.\r\nNOOP\r\n", "", "NOOP\r\n", Problem::kTooLarge,
                {.octets_max = 19});
  ExpectScanned("12345678\r\n12345678\r\n.\r\n", "12345678\r\n12345678\r\n", "", Problem::kNone,
                {.octets_max = 20});
}

TEST(ContentScannerTest, EightBitContentIsNoticed) {
  EXPECT_FALSE(Scan("plain\r\n.\r\n", {}).eight_bit);
  for (size_t before = 0; before < 130; ++before) {
    EXPECT_TRUE(Scan(std::string(before, 'x') + "\xc3\xa4\r\n.\r\n", {}).eight_bit) << before;
  }
}

TEST(ContentScannerTest, ChunksKeepTheirDotsAndAMissingLastLineEndIsAdded) {
  const std::string_view octets = ".\r\n..a\r\n.\r\nend";
  for (size_t cut = 0; cut <= octets.size(); ++cut) {
    ContentScanner scanner;
    std::string content;
    scanner.FeedChunk(octets.substr(0, cut), &content);
    scanner.FeedChunk(octets.substr(cut), &content);
    scanner.FinishChunks(&content);
    EXPECT_EQ(scanner.problem(), Problem::kNone);
    EXPECT_EQ(content, std::string(octets) + "\r\n");
    EXPECT_EQ(scanner.octets(), content.size());
  }
}

TEST(ContentScannerTest, ChunksWithBareNewlinesAreProblems) {
  for (const std::string_view octets : {"a\nb\r\n", "a\rb\r\n", "a\r\n\n", "end\r"}) {
    ContentScanner scanner;
    std::string content;
    scanner.FeedChunk(octets, &content);
    scanner.FinishChunks(&content);
    EXPECT_EQ(scanner.problem(), Problem::kBareNewline) << testing::PrintToString(octets);
  }
}

}  // namespace
}  // namespace mailrace::transport::smtp
