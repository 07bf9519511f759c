// What a start says about the queue that it found.
#include "engine/start_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_logger.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

queue::RecoveredMessage Waiting(absl::Duration until, bool held = false) {
  queue::RecoveredMessage message;
  message.has_retry = true;
  message.retry.next_attempt = kNow + until;
  message.retry.held = held;
  return message;
}

std::vector<std::string> Lines(const StartReport& report) {
  fakes::MemoryLogger logger;
  LogStart(report, &logger);
  return logger.texts();
}

TEST(StartReportTest, CountsEachMessageByWhatItWaitsFor) {
  StartReport report;
  report.Count({}, kNow);
  report.Count(Waiting(-absl::Hours(1)), kNow);
  report.Count(Waiting(absl::Hours(1)), kNow);
  report.Count(Waiting(absl::Hours(1), true), kNow);
  EXPECT_EQ(report.messages(), 4u);
  EXPECT_THAT(Lines(report),
              ElementsAre(HasSubstr("start: 4 messages in the queue: 2 due, 1 deferred, 1 on hold"),
                          HasSubstr("start: 0 recipients may be delivered twice")));
}

TEST(StartReportTest, SaysWhatWasLost) {
  StartReport report;
  report.accepted_loss = "the queue ends at 5, the marker says 9";
  EXPECT_THAT(Lines(report)[1],
              HasSubstr("start: loss was accepted: the queue ends at 5, the marker says 9"));
}

TEST(StartReportTest, NamesWhoMayGetItTwiceAndWhatMakesThatDoubtful) {
  StartReport report;
  report.possible_duplicates.messages.push_back({{1}, {0}, {"a@example.com"}, 0});
  report.possible_duplicates.recipients = 1;
  report.possible_duplicates.exact = false;
  report.possible_duplicates.doubt = {"why"};
  const std::string id = QueueId{1}.ToString();
  EXPECT_THAT(Lines(report),
              ElementsAre(HasSubstr("start: 0 messages"),
                          HasSubstr("1 recipients of 1 messages may be delivered twice: " + id),
                          HasSubstr("possible duplicates: why"),
                          HasSubstr(id + ": to=<a@example.com>: message may be sent more")));
}

TEST(StartReportTest, AnAddressCannotForgeALine) {
  StartReport report;
  report.possible_duplicates.messages.push_back({{1}, {0}, {"a\nb@example.com"}, 0});
  report.possible_duplicates.recipients = 1;
  EXPECT_EQ(Lines(report).back().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace mailrace::engine
