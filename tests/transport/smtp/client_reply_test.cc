#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/reply.h"

namespace mailrace::transport::smtp {
namespace {

using State = ReplyParser::State;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Feeds `octets` cut in two at `split`; *rest is what no reply has taken.
State FeedSplit(ReplyParser* parser, std::string_view octets, size_t split, std::string* rest) {
  std::string_view first = octets.substr(0, split);
  State state = parser->Feed(&first);
  std::string second_part = std::string(first) + std::string(octets.substr(split));
  std::string_view second = second_part;
  if (state == State::kNeedsMore) state = parser->Feed(&second);
  *rest = second;
  return state;
}

TEST(ReplyParser, ReadsOneReplyAndLeavesTheNext) {
  const std::string_view octets = "250-first\r\n250-\r\n250 last\r\n354 go\r\n";
  for (size_t split = 0; split <= octets.size(); ++split) {
    SCOPED_TRACE(split);
    ReplyParser parser;
    std::string rest;
    ASSERT_EQ(FeedSplit(&parser, octets, split, &rest), State::kComplete);
    const Reply reply = parser.TakeReply();
    EXPECT_EQ(reply.code, 250);
    EXPECT_THAT(reply.lines, ElementsAre("first", "", "last"));
    EXPECT_EQ(rest, "354 go\r\n");
  }
}

TEST(ReplyParser, TakesABareCode) {
  for (const std::string_view octets : {"354\r\n", "354 \r\n", "354\n"}) {
    ReplyParser parser;
    std::string_view input = octets;
    ASSERT_EQ(parser.Feed(&input), State::kComplete);
    EXPECT_EQ(parser.reply().code, 354);
    EXPECT_THAT(parser.reply().lines, ElementsAre(""));
  }
}

TEST(ReplyParser, DoesNotEndALineAtABareCr) {
  ReplyParser parser;
  std::string_view input = "250 a\r250 b\r\n";
  ASSERT_EQ(parser.Feed(&input), State::kComplete);
  EXPECT_THAT(parser.reply().lines, ElementsAre("a?250 b"));
}

TEST(ReplyParser, KeepsUtf8AndNothingThatALogCannotShow) {
  ReplyParser parser;
  std::string_view input("250 gr\xc3\xbc\xc3\x9f\x1b[0m\r\n");
  ASSERT_EQ(parser.Feed(&input), State::kComplete);
  EXPECT_THAT(parser.reply().lines, ElementsAre("gr\xc3\xbc\xc3\x9f?[0m"));
}

TEST(ReplyParser, SaysWhatWasWrongAndStaysThere) {
  ReplyParser parser;
  std::string_view input = "25 x\x1b\r\n250 ok\r\n";
  ASSERT_EQ(parser.Feed(&input), State::kProtocolError);
  EXPECT_EQ(parser.problem(), "malformed reply: 25 x?");
  EXPECT_EQ(parser.Feed(&input), State::kProtocolError);
  parser.Reset();
  EXPECT_EQ(parser.Feed(&input), State::kComplete);
}

TEST(ReplyParser, StoresNoMoreThanALineOfAnEndlessOne) {
  ReplyParser parser;
  const std::string piece(1000, 'x');
  size_t fed = 0;
  State state = State::kNeedsMore;
  for (std::string_view input = "250 "; state == State::kNeedsMore; input = piece) {
    fed += input.size();
    state = parser.Feed(&input);
  }
  EXPECT_EQ(state, State::kProtocolError);
  EXPECT_LE(fed, ReplyParser::kLineOctetsMax + 2 + piece.size());
  EXPECT_THAT(parser.problem(), HasSubstr("too long"));
}

TEST(ReplyParser, HasRoomForAnAuthChallengeWhenTold) {
  const std::string octets = "334 " + std::string(12288, 'A') + "\r\n";
  ReplyParser parser;
  std::string_view input = octets;
  EXPECT_EQ(parser.Feed(&input), State::kProtocolError);
  parser.Reset();
  parser.set_line_octets_max(4 + 12288);
  input = octets;
  EXPECT_EQ(parser.Feed(&input), State::kComplete);
}

TEST(Reply, PrintsAsPostfixDoes) {
  EXPECT_EQ((Reply{250, {"2.0.0 ok"}}).ToString(), "250 2.0.0 ok");
  EXPECT_EQ((Reply{250, {""}}).ToString(), "250");
  EXPECT_EQ((Reply{550, {"5.7.1 no", "", "see x"}}).ToString(), "550-5.7.1 no 550- 550 see x");
}

Capabilities Parse(std::vector<std::string> lines) {
  lines.insert(lines.begin(), "server.example");
  return Capabilities::Parse(Reply{250, std::move(lines)});
}

TEST(Capabilities, KnowsEveryKeywordWithoutCase) {
  const Capabilities c = Parse({"pipelining", "StartTLS", "8bitmime", "SMTPUTF8", "dsn", "CHUNKING",
                                "ENHANCEDSTATUSCODES", "size 1000"});
  EXPECT_TRUE(c.esmtp && c.pipelining && c.starttls && c.eight_bit_mime && c.smtputf8 && c.dsn &&
              c.chunking && c.enhanced_status_codes && c.size_offered);
  EXPECT_EQ(c.size_octets_max, 1000u);
}

TEST(Capabilities, DiscardedKeywordsWereNeverSaid) {
  const Reply reply{250, {"server.example", "DSN", "pipelining", "AUTH=PLAIN", "SIZE 5", "DSNX"}};
  const Capabilities c = Capabilities::Parse(reply, {"DSN", "PIPELINING", "AUTH"});
  EXPECT_FALSE(c.dsn || c.pipelining || c.auth_offered);
  EXPECT_TRUE(c.size_offered);
}

TEST(Capabilities, DoesNotReadTheServersNameAsAKeyword) {
  EXPECT_FALSE(Capabilities::Parse(Reply{250, {"PIPELINING"}}).pipelining);
}

TEST(Capabilities, TakesAKeywordOnlyWhole) {
  const Capabilities c = Parse({"XPIPELINING", "STARTTLSX", "DSN-NOT", "SIZES 5"});
  EXPECT_FALSE(c.pipelining || c.starttls || c.dsn || c.size_offered);
}

TEST(Capabilities, ASizeThatIsNoneIsNoLimit) {
  for (const char* line : {"SIZE", "SIZE 0", "SIZE 99999999999999999999", "SIZE -1", "SIZE x"}) {
    const Capabilities c = Parse({line});
    EXPECT_TRUE(c.size_offered) << line;
    EXPECT_EQ(c.size_octets_max, 0u) << line;
  }
}

TEST(Capabilities, AuthMechanismsOfBothSpellingsInOrderAndOnce) {
  EXPECT_THAT(Parse({"AUTH plain  LOGIN ", "AUTH=LOGIN CRAM-MD5"}).auth_mechanisms,
              ElementsAre("PLAIN", "LOGIN", "CRAM-MD5"));
  EXPECT_FALSE(Parse({"DSN"}).auth_offered);
}

TEST(Capabilities, AnEmptyAuthIsAnOffer) {
  const Capabilities c = Parse({"AUTH"});
  EXPECT_TRUE(c.auth_offered);
  EXPECT_THAT(c.auth_mechanisms, IsEmpty());
}

TEST(Capabilities, KeepsAtMost64Mechanisms) {
  std::string line = "AUTH";
  for (int i = 0; i < 70; ++i) line += fmt::format(" M{}", i);
  EXPECT_EQ(Parse({line}).auth_mechanisms.size(), 64u);
}

TEST(Capabilities, ReadsLimits) {
  const Capabilities c = Parse({"LIMITS MAILMAX=20 rcptmax=100 RCPTDOMAINMAX=1 X MAILMAX=0"});
  EXPECT_EQ(c.mail_max, 20u);
  EXPECT_EQ(c.rcpt_max, 100u);
}

}  // namespace
}  // namespace mailrace::transport::smtp
