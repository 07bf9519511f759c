// What a sink says to what it hears.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "fmt/format.h"
#include "tools/sink/dialogue.h"

namespace mailrace::sink {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Step = Dialogue::Step;

class SinkDialogue : public ::testing::Test {
 protected:
  // A session that has been greeted.
  Dialogue* Begin(std::vector<std::string> faults = {}) {
    recorder_.emplace();
    EXPECT_TRUE(recorder_->Open(options_).ok());
    absl::StatusOr<std::unique_ptr<FaultPlan>> plan = FaultPlan::Parse(faults);
    EXPECT_TRUE(plan.ok()) << plan.status();
    plan_ = *std::move(plan);
    counters_.emplace();
    context_ = {&options_, plan_.get(), &*recorder_, &*counters_, &random_, &clock_};
    dialogue_.emplace(&context_, 7);
    Buffer greeting;
    step_ = dialogue_->Greet(&greeting);
    greeting_ = greeting.view();
    return &*dialogue_;
  }

  // The replies to `octets`, without their CRLFs.
  std::vector<std::string> Say(std::string_view octets) {
    Buffer out;
    input_.Append(octets);
    step_ = dialogue_->Process(&input_, &out);
    return Lines(out.view());
  }

  static std::vector<std::string> Lines(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
      const size_t end = text.find("\r\n");
      lines.emplace_back(text.substr(0, end));
      text.remove_prefix(end + 2);
    }
    return lines;
  }

  // The code that each reply begins with.
  std::string Codes(std::string_view octets) {
    std::string codes;
    for (const std::string& line : Say(octets)) {
      if (line.size() > 3 && line[3] == '-') continue;
      codes += (codes.empty() ? "" : " ") + line.substr(0, 3);
    }
    return codes;
  }

  SinkOptions options_;
  SimClock clock_;
  SeededRandom random_{1};
  std::optional<Recorder> recorder_;
  std::optional<SinkCounters> counters_;
  std::unique_ptr<FaultPlan> plan_;
  DialogueContext context_;
  std::optional<Dialogue> dialogue_;
  Buffer input_;
  std::string greeting_;
  Step step_ = Step::kContinue;
};

constexpr std::string_view kMessage =
    "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";

TEST_F(SinkDialogue, OffersWhatItCanDo) {
  Begin();
  EXPECT_THAT(Say("EHLO c\r\n"),
              ElementsAre("250-localhost", "250-PIPELINING", "250-SIZE 100000000",
                          "250-ENHANCEDSTATUSCODES", "250-8BITMIME", "250-DSN", "250-SMTPUTF8",
                          "250 CHUNKING"));
}

TEST_F(SinkDialogue, OffersNothingThatItWasToldToLeaveOut) {
  options_.without = {"PIPELINING", "CHUNKING", "SIZE"};
  Begin();
  EXPECT_THAT(Say("EHLO c\r\n"), ElementsAre("250-localhost", "250-ENHANCEDSTATUSCODES",
                                             "250-8BITMIME", "250-DSN", "250 SMTPUTF8"));
  EXPECT_EQ(Codes("MAIL FROM:<a@b> SIZE=1\r\n"), "555");
}

TEST_F(SinkDialogue, OffersStarttlsAndAuthOnlyWhereTheyMayBeUsed) {
  options_.tls = options_.require_tls = true;
  options_.user = "u";
  options_.password = "p";
  options_.mechanisms = {"PLAIN"};
  Begin();
  EXPECT_THAT(Say("EHLO c\r\n"), Not(::testing::Contains(HasSubstr("AUTH"))));
  EXPECT_EQ(Codes("AUTH PLAIN AHUAcA==\r\n"), "530");
  EXPECT_EQ(Codes("STARTTLS now\r\n"), "501");
  EXPECT_EQ(Codes("STARTTLS\r\n"), "220");
  EXPECT_EQ(step_, Step::kStartTls);
  dialogue_->TlsStarted("TLSv1.3", "C");
  EXPECT_EQ(Codes("MAIL FROM:<a@b>\r\n"), "503");  // All before TLS is forgotten.
  EXPECT_THAT(Say("EHLO c\r\n"), ::testing::Contains("250-AUTH PLAIN"));
  EXPECT_EQ(Codes("STARTTLS\r\n"), "503");
  EXPECT_EQ(Codes("AUTH PLAIN AHUAcA==\r\n"), "235");
}

TEST_F(SinkDialogue, LeavesWhatFollowsStarttlsUnread) {
  options_.tls = true;
  Begin();
  EXPECT_EQ(Codes("EHLO c\r\nSTARTTLS\r\nEHLO injected\r\n"), "250 220");
  EXPECT_EQ(input_.view(), "EHLO injected\r\n");
}

TEST_F(SinkDialogue, TakesMessagesWhereverTheWireCutsThem) {
  const std::string all =
      "EHLO c\r\n" + std::string(kMessage) + "X-Mailrace-Id: r-1\r\n\r\n..dot\r\n.\r\n" +
      "MAIL FROM:<> BODY=8BITMIME SIZE=9\r\nRCPT TO:<\"x>y\"@z> NOTIFY=NEVER\r\n"
      "BDAT 5\r\na\r\n.\rBDAT 4 LAST\r\n\nb\r\nQUIT\r\n";
  for (size_t split = 0; split < all.size(); ++split) {
    Begin();
    std::string codes = Codes(all.substr(0, split));
    const std::string rest = Codes(all.substr(split));
    if (!codes.empty() && !rest.empty()) codes += " ";
    EXPECT_EQ(codes + rest, "250 250 250 354 250 250 250 250 250 221") << "split at " << split;
    EXPECT_EQ(step_, Step::kClose);
    EXPECT_EQ(counters_->messages.value(), 2U);
    EXPECT_EQ(counters_->octets.value(), 37U);  // 28 unstuffed and 9 in two chunks.
    EXPECT_EQ(counters_->protocol_errors.value(), 0U);
    EXPECT_TRUE(input_.empty());
  }
}

TEST_F(SinkDialogue, TakesMessagesOctetByOctet) {
  Begin();
  std::string codes;
  for (const char c : "EHLO c\r\n" + std::string(kMessage) + "a\r\n..\r\n.\r\nRSET\r\n") {
    codes += Codes(std::string(1, c));
  }
  EXPECT_EQ(codes, "250250250354250250");
  EXPECT_EQ(counters_->octets.value(), 6U);
}

TEST_F(SinkDialogue, InsistsOnTheOrderOfCommands) {
  Begin();
  EXPECT_EQ(Codes("MAIL FROM:<a@b>\r\n"), "503");
  EXPECT_EQ(Codes("EHLO\r\nEHLO c\r\n"), "501 250");
  EXPECT_EQ(Codes("RCPT TO:<a@b>\r\nDATA\r\n"), "503 503");
  EXPECT_EQ(Codes("MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n"), "250 503");
  EXPECT_EQ(Codes("DATA\r\n"), "554");
  EXPECT_EQ(Codes("BDAT 3 LAST\r\nabc"), "503");
  EXPECT_EQ(Codes("RSET\r\nRCPT TO:<a@b>\r\n"), "250 503");
  EXPECT_EQ(Codes("MAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nMAIL FROM:<a@b>x\r\n"), "501 501 501");
  EXPECT_EQ(Codes("MAIL FROM:<a@b> X=1\r\nWHAT\r\nNOOP\r\n"), "555 500 250");
}

TEST_F(SinkDialogue, RefusesABareLineFeed) {
  Begin();
  EXPECT_EQ(Codes("EHLO c\n"), "500");
}

TEST_F(SinkDialogue, TakesNoBareLineEndForTheEndOfData) {
  Begin();
  EXPECT_EQ(Codes("EHLO c\r\n" + std::string(kMessage)), "250 250 250 354");
  EXPECT_EQ(Codes("a\n.\nb\n.\r\nc\r.\r\nd\r\n.\n"), "");
  EXPECT_EQ(Codes("\r\n.\r\n"), "250");
}

TEST_F(SinkDialogue, WantsSmtputf8ForEightBitAddresses) {
  Begin();
  EXPECT_EQ(Codes("EHLO c\r\nMAIL FROM:<\xc3\xa4@b>\r\n"), "250 553");
  EXPECT_EQ(Codes("MAIL FROM:<\xc3\xa4@b> SMTPUTF8\r\nRCPT TO:<\xc3\xb6@c>\r\n"), "250 250");
}

TEST_F(SinkDialogue, KeepsItsLimits) {
  options_.message_octets_max = 10;
  options_.recipients_max = 1;
  Begin();
  EXPECT_EQ(Codes("EHLO c\r\nMAIL FROM:<a@b> SIZE=11\r\n"), "250 552");
  EXPECT_EQ(Codes("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"), "250 250 452");
  EXPECT_EQ(Codes("DATA\r\n0123456789\r\n.\r\n"), "354 552");
  EXPECT_EQ(counters_->messages.value(), 0U);
  EXPECT_EQ(Codes(std::string(12'300, 'x')), "500");
  EXPECT_EQ(step_, Step::kClose);
}

TEST_F(SinkDialogue, LosesPatienceAfterManyErrors) {
  Begin();
  std::string errors;
  for (int i = 0; i < 200; ++i) errors += "WHAT\r\n";
  const std::vector<std::string> replies = Say(errors);
  EXPECT_EQ(replies.size(), 101U);
  EXPECT_THAT(replies.back(), HasSubstr("421"));
  EXPECT_EQ(step_, Step::kClose);
}

TEST_F(SinkDialogue, AuthenticatesOneUser) {
  options_.user = "u";
  options_.password = "p";
  options_.require_auth = true;
  Begin();
  EXPECT_EQ(Codes("EHLO c\r\nMAIL FROM:<a@b>\r\n"), "250 530");
  EXPECT_EQ(Codes("AUTH PLAIN AHUAeA==\r\n"), "535");
  EXPECT_EQ(Codes("AUTH LOGIN\r\n*\r\n"), "334 501");
  EXPECT_EQ(Codes("AUTH LOGIN\r\n!\r\n"), "334 501");
  EXPECT_EQ(Codes("AUTH GSSAPI\r\n"), "504");
  EXPECT_EQ(Codes("AUTH LOGIN\r\ndQ==\r\ncA==\r\n"), "334 334 235");
  EXPECT_EQ(Codes("AUTH LOGIN\r\n"), "503");
  EXPECT_EQ(Codes("MAIL FROM:<a@b> AUTH=<>\r\n"), "250");
  EXPECT_EQ(counters_->auth_successes.value(), 1U);
  EXPECT_EQ(counters_->auth_failures.value(), 2U);
}

TEST_F(SinkDialogue, CountsWhatTravelsTogether) {
  Begin();
  Say("EHLO c\r\n");
  Say(kMessage);
  Say("a\r\n.\r\n" + std::string(kMessage));
  EXPECT_EQ(counters_->command_groups.value(), 3U);
  EXPECT_EQ(counters_->commands.value(), 7U);
  EXPECT_EQ(counters_->pipelined_commands.value(), 4U);
  EXPECT_EQ(counters_->largest_group.value(), 3U);
  EXPECT_EQ(counters_->envelopes_behind_content.value(), 1U);
}

TEST_F(SinkDialogue, StopsTakingMessagesAtTheMaximum) {
  options_.messages_max = 1;
  Begin();
  Say("EHLO c\r\n");
  EXPECT_EQ(Codes(std::string(kMessage) + "a\r\n.\r\n"), "250 250 354 250");
  EXPECT_EQ(Codes(std::string(kMessage) + "a\r\n.\r\n"), "250 250 354 452");
  EXPECT_TRUE(recorder_->full());
}

// --- Faults. ---

TEST_F(SinkDialogue, RefusesAsTold) {
  Begin({"rcpt=bad@:550", "dot:451:1/2"});
  Say("EHLO c\r\n");
  EXPECT_EQ(Codes("MAIL FROM:<a@b>\r\nRCPT TO:<bad@x>\r\nRCPT TO:<good@x>\r\n"), "250 550 250");
  EXPECT_EQ(Codes("DATA\r\n.\r\n"), "354 250");
  EXPECT_EQ(Codes(std::string(kMessage) + ".\r\n"), "250 250 354 451");
  EXPECT_EQ(Codes(std::string(kMessage) + ".\r\n"), "250 250 354 250");
  EXPECT_EQ(counters_->messages.value(), 2U);
  EXPECT_EQ(counters_->messages_refused.value(), 1U);
  EXPECT_EQ(counters_->faults.value(), 2U);
}

TEST_F(SinkDialogue, EndsTheSessionWith421) {
  Begin({"mail:421"});
  EXPECT_EQ(Codes("EHLO c\r\n" + std::string(kMessage)), "250 421");
  EXPECT_EQ(step_, Step::kClose);
}

TEST_F(SinkDialogue, RefusesTheSessionInItsGreeting) {
  Begin({"greeting:554"});
  EXPECT_THAT(greeting_, HasSubstr("554 "));
}

TEST_F(SinkDialogue, DropsAMessageWithoutTakingIt) {
  Begin({"drop@dot"});
  Say("EHLO c\r\n" + std::string(kMessage));
  EXPECT_THAT(Say(".\r\n"), IsEmpty());
  EXPECT_EQ(step_, Step::kClose);
  EXPECT_EQ(counters_->messages.value(), 0U);
}

TEST_F(SinkDialogue, LosesTheReplyToAMessageThatItTook) {
  Begin({"lost@dot"});
  Say("EHLO c\r\n" + std::string(kMessage));
  EXPECT_THAT(Say(".\r\n"), IsEmpty());
  EXPECT_EQ(step_, Step::kClose);
  EXPECT_EQ(counters_->messages.value(), 1U);
}

TEST_F(SinkDialogue, TalksGarbage) {
  Begin({"garbage@ehlo"});
  EXPECT_THAT(Say("EHLO c\r\n"), ElementsAre("\x80\xff 25O \x01not a reply"));
}

TEST_F(SinkDialogue, StallsAtData) {
  Begin({"stall@data"});
  EXPECT_EQ(Codes("EHLO c\r\n" + std::string(kMessage) + "QUIT\r\n"), "250 250 250");
  EXPECT_EQ(step_, Step::kStall);
}

TEST_F(SinkDialogue, RefusesAChunkAndTheRestOfItsMessage) {
  Begin({"bdat:452:1/2"});
  Say("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
  EXPECT_EQ(Codes("BDAT 1\r\naBDAT 1\r\nbBDAT 1 LAST\r\nc"), "250 452 503");
  EXPECT_EQ(counters_->messages.value(), 0U);
}

TEST(FaultPlanTest, SaysWhatIsWrongWithASpecification) {
  const std::pair<const char*, const char*> kCases[] = {
      {"", "step"},
      {"lunch:450", "step"},
      {"mail", "reply code"},
      {"mail:250", "code"},
      {"mail:600", "code"},
      {"mail:x", "code"},
      {"sing@mail", "action"},
      {"mail:450:2", "frequency"},
      {"mail:450:0", "frequency"},
      {"mail:450:1/0", "frequency"},
      {"drop@dot:x", "frequency"},
      {"drop@", "step"},
  };
  for (const auto& [spec, problem] : kCases) {
    const auto plan = FaultPlan::Parse({spec});
    ASSERT_FALSE(plan.ok()) << spec;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(problem)) << spec;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(fmt::format("'{}'", spec)));
  }
}

TEST(FaultPlanTest, KeepsItsFrequency) {
  const auto plan = FaultPlan::Parse({"rcpt:450:0.25", "mail:451:1/4"});
  ASSERT_TRUE(plan.ok());
  SeededRandom random(42);
  int by_lot = 0;
  std::string in_turn;
  for (int i = 0; i < 4000; ++i) {
    if ((*plan)->Consult(SinkStep::kRcpt, "", &random) != nullptr) ++by_lot;
    if (i < 8) {
      in_turn += (*plan)->Consult(SinkStep::kMail, "", &random) != nullptr ? 'F' : '.';
    }
  }
  EXPECT_EQ(in_turn, "...F...F");
  EXPECT_NEAR(by_lot, 1000, 100);  // The seed makes it the same number for ever.
}

TEST(FaultPlanTest, RepeatsItselfFromTheSameSeed) {
  std::string first;
  for (int round = 0; round < 2; ++round) {
    const auto plan = FaultPlan::Parse({"dot:450:0.5"});
    SeededRandom random(7);
    std::string hits;
    for (int i = 0; i < 64; ++i) {
      hits += (*plan)->Consult(SinkStep::kDot, "", &random) != nullptr ? 'F' : '.';
    }
    if (round == 0) first = hits;
    EXPECT_EQ(hits, first);
  }
  EXPECT_THAT(first, HasSubstr("F"));
}

TEST(ContentReaderTest, FindsTheIdInTheHeaderAndNowhereElse) {
  const std::pair<std::string, std::string> kCases[] = {
      {"Received: x\r\nx-mailrace-id:  run-1 \r\n\r\nbody", "run-1"},
      {"Subject: x\r\n\r\nX-Mailrace-Id: body\r\n", ""},
      {"\r\nX-Mailrace-Id: body\r\n\r\n", ""},
      {"X-Mailrace-Id: only", "only"},
      {"", ""},
  };
  for (const auto& [content, id] : kCases) {
    for (size_t split = 0; split <= content.size(); ++split) {
      ContentReader reader;
      reader.Begin(true, 1000);
      reader.ReadChunk(std::string_view(content).substr(0, split));
      reader.ReadChunk(std::string_view(content).substr(split));
      EXPECT_EQ(reader.MessageId(), id) << content << " split at " << split;
      EXPECT_EQ(reader.content(), content);
    }
  }
}

}  // namespace
}  // namespace mailrace::sink
