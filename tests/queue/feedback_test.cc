#include "queue/feedback.h"

#include "gtest/gtest.h"

namespace mailrace::queue {
namespace {

double At(std::string_view text, int window) {
  const auto feedback = Feedback::Parse(text);
  EXPECT_TRUE(feedback.ok()) << text << ": " << feedback.status();
  return feedback.ok() ? feedback->At(window) : -1;
}

TEST(FeedbackTest, ReadsPostfixsExpressions) {
  EXPECT_DOUBLE_EQ(At("1", 10), 1);
  EXPECT_DOUBLE_EQ(At("0", 10), 0);
  EXPECT_DOUBLE_EQ(At(" 0.25 ", 10), 0.25);
  EXPECT_DOUBLE_EQ(At("1/8", 10), 0.125);
  EXPECT_DOUBLE_EQ(At("1 / 8", 10), 0.125);
  EXPECT_DOUBLE_EQ(At("1/concurrency", 10), 0.1);
  EXPECT_DOUBLE_EQ(At("0.5 / concurrency", 10), 0.05);
  EXPECT_DOUBLE_EQ(At("1/sqrt_concurrency", 16), 0.25);
}

TEST(FeedbackTest, RefusesTheRestAndQuotesIt) {
  for (const std::string_view text : {"",
                                      "/",
                                      "1/",
                                      "/8",
                                      "x",
                                      "1x",
                                      "1/x",
                                      "1/0",
                                      "2",
                                      "2/1",
                                      "-1",
                                      "1/-1",
                                      "nan",
                                      "inf",
                                      "1/inf",
                                      "1//2",
                                      "1/2/3",
                                      "1/concurrency2",
                                      "concurrency",
                                      "1e999",
                                      "2/concurrency"}) {
    const auto feedback = Feedback::Parse(text);
    ASSERT_FALSE(feedback.ok()) << text;
    EXPECT_EQ(feedback.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(feedback.status().message()).find(std::string(text)), std::string::npos);
  }
}

}  // namespace
}  // namespace mailrace::queue
