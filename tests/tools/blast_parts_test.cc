// Patterns, messages, the schedule and the histogram of mailrace-blast.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tools/blast/composer.h"
#include "tools/blast/pattern.h"
#include "tools/blast/schedule.h"
#include "tools/common/json_object.h"
#include "tools/common/latencies.h"

namespace mailrace::blast {
namespace {

using ::testing::HasSubstr;

std::string Expand(std::string_view pattern, uint64_t message, uint64_t recipient) {
  const absl::StatusOr<Pattern> parsed = Pattern::Parse(pattern);
  if (!parsed.ok()) return std::string(parsed.status().message());
  std::string text;
  parsed->AppendTo(message, recipient, &text);
  return text;
}

TEST(PatternTest, PutsNumbersIn) {
  EXPECT_EQ(Expand("a@b", 1, 2), "a@b");
  EXPECT_EQ(Expand("u{n}+{r}@d{n%7}.example", 100, 3), "u100+3@d2.example");
  EXPECT_EQ(Expand("{r%2}", 0, 5), "1");
  EXPECT_EQ(Expand("", 0, 5), "");
}

TEST(PatternTest, SaysWhatIsWrong) {
  EXPECT_THAT(Expand("u{n", 0, 0), HasSubstr("without its }"));
  EXPECT_THAT(Expand("u{x}", 0, 0), HasSubstr("n or r"));
  EXPECT_THAT(Expand("u{}", 0, 0), HasSubstr("n or r"));
  EXPECT_THAT(Expand("u{n%0}", 0, 0), HasSubstr("above zero"));
  EXPECT_THAT(Expand("u{n1}", 0, 0), HasSubstr("above zero"));
  EXPECT_THAT(Expand("a@b>\r\nDATA", 0, 0), HasSubstr("line ends"));
}

TEST(ComposerTest, MakesMessagesOfExactlyTheSizeThatWasAskedFor) {
  BlastOptions options;
  options.run = "run";
  // Wherever the cut falls in a line of the body, also between its CR and LF.
  for (uint64_t size = 400; size < 700; ++size) {
    options.size_octets = size;
    const absl::StatusOr<Composer> composer = Composer::Make(options, absl::UnixEpoch());
    ASSERT_TRUE(composer.ok());
    Buffer out;
    EXPECT_EQ(composer->AppendContent(3, &out), size);
    ASSERT_EQ(out.size(), size + 3);
    EXPECT_TRUE(out.view().ends_with("\r\n.\r\n")) << size;
    EXPECT_EQ(out.view().find("\r\n."), size - 2) << "a line begins with a dot";
    EXPECT_THAT(std::string(out.view()), HasSubstr("\r\nX-Mailrace-Id: run-3\r\n"));
  }
}

TEST(ComposerTest, MakesNothingSmallerThanItsHeaders) {
  BlastOptions options;
  options.run = "run";
  options.size_octets = 0;
  const absl::StatusOr<Composer> composer = Composer::Make(options, absl::UnixEpoch());
  Buffer out;
  composer->AppendContent(1, &out);
  EXPECT_TRUE(out.view().ends_with("\r\n\r\n.\r\n"));
}

TEST(ScheduleTest, GivesEachMessageOnce) {
  BlastOptions options;
  options.messages = 2;
  options.recipients = 3;
  Schedule schedule(options, MonoTime{0});
  const std::optional<Ticket> first = schedule.Take(MonoTime{0});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sequence, 0U);
  EXPECT_THAT(first->owed, ::testing::ElementsAre(0, 1, 2));
  EXPECT_TRUE(first->due.infinite());
  EXPECT_EQ(schedule.TakeDue(MonoTime{0})->sequence, 1U);
  EXPECT_FALSE(schedule.Take(MonoTime{0}));
}

TEST(ScheduleTest, SaysWhenAMessageIsDueAtARate) {
  BlastOptions options;
  options.messages = 0;
  options.rate = 10;
  options.duration = absl::Milliseconds(250);
  Schedule schedule(options, MonoTime{0});
  EXPECT_EQ(schedule.Take(MonoTime{0})->due, MonoTime{0});
  EXPECT_FALSE(schedule.TakeDue(MonoTime{99'000'000}));
  EXPECT_EQ(schedule.TakeDue(MonoTime{100'000'000})->due, MonoTime{100'000'000});
  // Ahead of its time, but not beyond the end.
  EXPECT_EQ(schedule.Take(MonoTime{100'000'000})->due, MonoTime{200'000'000});
  EXPECT_FALSE(schedule.Take(MonoTime{100'000'000}));
}

TEST(ScheduleTest, GivesNothingOnceStopped) {
  Schedule schedule(BlastOptions(), MonoTime{0});
  schedule.Stop();
  EXPECT_FALSE(schedule.Take(MonoTime{0}));
}

TEST(LatenciesTest, IsPreciseToAThirtySecond) {
  for (int64_t micros = 0; micros < 100'000'000; micros = micros * 9 / 8 + 1) {
    tools::Latencies latencies;
    latencies.Record(absl::Microseconds(micros));
    latencies.Record(absl::Hours(1));  // Lets the quantile round up.
    const int64_t seen = absl::ToInt64Microseconds(latencies.Quantile(0.5));
    EXPECT_GE(seen, micros);
    EXPECT_LE(seen, micros + micros / 32);
  }
}

TEST(LatenciesTest, NeverExceedsItsMaximum) {
  tools::Latencies latencies;
  EXPECT_EQ(latencies.Quantile(0.99), absl::ZeroDuration());
  for (int i = 1; i <= 100; ++i) latencies.Record(absl::Milliseconds(i));
  EXPECT_EQ(latencies.count(), 100U);
  EXPECT_EQ(latencies.max(), absl::Milliseconds(100));
  EXPECT_EQ(latencies.Quantile(1), absl::Milliseconds(100));
  EXPECT_GE(latencies.Quantile(0.5), absl::Milliseconds(50));
  EXPECT_LT(latencies.Quantile(0.5), absl::Milliseconds(52));
}

TEST(JsonObjectTest, WritesWhatAParserReads) {
  tools::JsonObject inner;
  inner.Number("d", 1.25, 1).Bool("b", true);
  tools::JsonObject json;
  json.Text("t", "a\"\\\n\xc3\xa4\xff").Texts("l", {"x", "y"}).Number("n", uint64_t{7});
  json.Object("o", inner);
  EXPECT_EQ(json.ToString(),
            "{\"t\":\"a\\\"\\\\\\u000a\xc3\xa4\\ufffd\",\"l\":[\"x\",\"y\"],\"n\":7,"
            "\"o\":{\"d\":1.2,\"b\":true}}");
  EXPECT_EQ(tools::JsonObject().ToString(), "{}");
}

}  // namespace
}  // namespace mailrace::blast
