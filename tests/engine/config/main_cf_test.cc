#include "engine/config/main_cf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config/logical_lines.h"

namespace mailrace::engine::config {
namespace {

using ::testing::HasSubstr;

class MainCfTest : public ::testing::Test {
 protected:
  MainCf Parse(std::string_view text) {
    diagnostics_ = {};
    return MainCf::Parse("main.cf", text, &diagnostics_);
  }
  std::string Value(std::string_view text, std::string_view name) {
    const MainCf main_cf = Parse(text);
    const Assignment* assignment = main_cf.Find(name);
    return assignment == nullptr ? "(none)" : assignment->value;
  }
  Diagnostics diagnostics_;
};

TEST_F(MainCfTest, NameAndValueAreTrimmed) {
  EXPECT_EQ(Value("relayhost = a\n", "relayhost"), "a");
  EXPECT_EQ(Value("relayhost=a", "relayhost"), "a");
  EXPECT_EQ(Value("relayhost\t=\t\"a b\"  \n", "relayhost"), "\"a b\"");
  EXPECT_EQ(Value("relayhost =\n", "relayhost"), "");
  EXPECT_EQ(Value("relayhost = a = b\n", "relayhost"), "a = b");
  EXPECT_FALSE(diagnostics_.has_errors());
}

TEST_F(MainCfTest, LinesThatBeginWithWhiteSpaceContinue) {
  EXPECT_EQ(Value("relayhost = a\n  b\n\tc\nmyorigin = d\n", "relayhost"), "a  b\tc");
  EXPECT_EQ(Value("relayhost =\n  a\n", "relayhost"), "a");
}

TEST_F(MainCfTest, CommentsAndEmptyLinesDoNotEndAContinuation) {
  EXPECT_EQ(Value("relayhost = a\n#x\n\n  # y\n   \n  b\nmyorigin=c", "relayhost"), "a  b");
}

TEST_F(MainCfTest, ThereAreNoTrailingComments) {
  EXPECT_EQ(Value("relayhost = a # b\n", "relayhost"), "a # b");
}

TEST_F(MainCfTest, CrLfFilesReadAlike) {
  EXPECT_EQ(Value("relayhost = a\r\n b\r\n\r\n# c\r\nmyorigin = d\r\n", "relayhost"), "a b");
  EXPECT_FALSE(diagnostics_.has_errors());
}

TEST_F(MainCfTest, TheLastAssignmentCountsAndIsPlaced) {
  const MainCf main_cf = Parse("\nrelayhost = a\n# c\nrelayhost = b\n");
  EXPECT_EQ(main_cf.Find("relayhost")->value, "b");
  EXPECT_EQ(main_cf.Find("relayhost")->place.ToString(), "main.cf:4");
  EXPECT_EQ(diagnostics_.ToString(),
            "main.cf:4: warning: relayhost: overriding the earlier entry at line 2\n");
}

TEST_F(MainCfTest, EveryBadLineIsReportedAndTheOthersKept) {
  const MainCf main_cf = Parse("nonsense\nrelayhost a\na b = c\n= d\nmyorigin = e\n");
  EXPECT_EQ(diagnostics_.ToString(),
            "main.cf:1: error: missing '=' after attribute name: \"nonsense\"\n"
            "main.cf:2: error: missing '=' after attribute name: \"relayhost\"\n"
            "main.cf:3: error: missing '=' after attribute name: \"a\"\n"
            "main.cf:4: error: missing attribute name before '='\n");
  EXPECT_EQ(main_cf.Find("myorigin")->value, "e");
}

TEST_F(MainCfTest, AContinuationOfNothingIsLeftOut) {
  EXPECT_EQ(Value(" relayhost = a\nmyorigin = b\n", "relayhost"), "(none)");
  EXPECT_EQ(diagnostics_.ToString(),
            "main.cf:1: warning: logical line must not start with whitespace -- ignoring this "
            "line\n");
}

TEST_F(MainCfTest, NulBadUtf8AndEndlessLinesAreErrorsAtTheirLine) {
  Parse(std::string_view("a = b\nrelayhost = x\0y\n", 22));
  EXPECT_THAT(diagnostics_.ToString(), HasSubstr("main.cf:2: error: NUL octet"));
  Parse("a = b\n c\xff\n");
  EXPECT_THAT(diagnostics_.ToString(), HasSubstr("main.cf:2: error: text is not UTF-8"));
  Parse("a = " + std::string(kLogicalLineOctetsMax, 'x') + "\nb = c\n");
  EXPECT_THAT(diagnostics_.ToString(), HasSubstr("main.cf:1: error: line longer than 65536"));
  std::string many = "a = b\n";
  for (int i = 0; i < 70; ++i) many += " " + std::string(1000, 'x') + "\n";
  Parse(many);
  EXPECT_EQ(diagnostics_.errors(), 1U);
}

TEST_F(MainCfTest, OverridesCountMoreThanTheFile) {
  MainCf main_cf = Parse("relayhost = a\n");
  main_cf.Override("relayhost=b", &diagnostics_);
  EXPECT_EQ(main_cf.Find("relayhost")->value, "b");
  EXPECT_EQ(main_cf.Find("relayhost")->place.ToString(), "command line");
  main_cf.Override("relayhost", &diagnostics_);
  EXPECT_THAT(diagnostics_.ToString(), HasSubstr("command line: error: missing '='"));
}

TEST_F(MainCfTest, AMillionBadLinesAreCountedNotPrinted) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "bad\n";
  Parse(text);
  EXPECT_EQ(diagnostics_.errors(), 1000U);
  EXPECT_EQ(diagnostics_.all().size(), Diagnostics::kMessagesMax);
  EXPECT_THAT(diagnostics_.ToString(), HasSubstr("and 800 more errors\n"));
}

TEST(ReadTextFile, RefusesWhatIsNotAReadableFile) {
  EXPECT_EQ(ReadTextFile("/nonexistent/main.cf", 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadTextFile("/tmp", 10).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadTextFile("/dev/zero", 10).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadTextFile("/etc/passwd", 1).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace mailrace::engine::config
