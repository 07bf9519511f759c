// Programs that the advisor runs beside itself.
#include "tools/mailrace/child_process.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::tools {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kLong = absl::Minutes(1);

TEST(ChildProcessTest, ItsLinesAreReadErrorsToo) {
  ChildProcess child;
  ASSERT_TRUE(child.Start({"/bin/sh", "-c", "echo one; echo two >&2"}, {}).ok());
  EXPECT_EQ(child.ReadLine(kLong), "one");
  EXPECT_EQ(child.ReadLine(kLong), "two");
  EXPECT_EQ(child.ReadLine(kLong), std::nullopt);
}

TEST(ChildProcessTest, ALineIsAwaitedAndWhatCameInsteadIsTold) {
  ChildProcess child;
  ASSERT_TRUE(child.Start({"/bin/sh", "-c", "echo noise; echo ready: 25"}, {}).ok());
  const absl::StatusOr<std::string> ready = child.AwaitLine("ready", kLong);
  ASSERT_TRUE(ready.ok());
  EXPECT_EQ(*ready, "ready: 25");
  ChildProcess other;
  ASSERT_TRUE(other.Start({"/bin/sh", "-c", "echo cannot start: no disk; exit 69"}, {}).ok());
  const absl::StatusOr<std::string> missing = other.AwaitLine("ready", kLong);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("cannot start: no disk"));
}

TEST(ChildProcessTest, ItsEnvironmentIsOursAndMore) {
  setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
  ChildProcess child;
  ASSERT_TRUE(
      child.Start({"/bin/sh", "-c", "echo $SECRET$NOTIFY_SOCKET; echo $PATH"}, {"SECRET=x"}).ok());
  unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(child.ReadLine(kLong), "x") << "the supervisor's word is for us alone";
  EXPECT_NE(child.ReadLine(kLong), "");
}

TEST(ChildProcessTest, AProgramThatIsNotThereEndsAtOnce) {
  ChildProcess child;
  ASSERT_TRUE(child.Start({"/nonexistent/program"}, {}).ok());
  EXPECT_EQ(child.ReadLine(kLong), std::nullopt);
  EXPECT_FALSE(child.succeeded());
}

TEST(ChildProcessTest, WhoDoesNotStopWhenAskedIsKilled) {
  ChildProcess child;
  ASSERT_TRUE(
      child.Start({"/bin/sh", "-c", "trap '' TERM; echo here; while :; do sleep 1; done"}, {})
          .ok());
  ASSERT_EQ(child.ReadLine(kLong), "here");
  EXPECT_TRUE(child.running());
  child.Stop(absl::Milliseconds(50));
  EXPECT_FALSE(child.running());
  EXPECT_FALSE(child.succeeded());
}

TEST(ChildProcessTest, OneAfterTheOtherAndTheirTimeAddsUp) {
  ChildProcess child;
  const std::vector<std::string> work = {
      "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done"};
  ASSERT_TRUE(child.Start(work, {}).ok());
  ASSERT_EQ(child.ReadLine(kLong), "done");
  ASSERT_EQ(child.ReadLine(kLong), std::nullopt) << "it has ended by itself";
  child.Stop(kLong);
  EXPECT_TRUE(child.succeeded());
  const absl::Duration first = child.cpu();
  EXPECT_GT(first, absl::ZeroDuration());
  ASSERT_TRUE(child.Start(work, {}).ok());
  ASSERT_EQ(child.ReadLine(kLong), "done");
  ASSERT_EQ(child.ReadLine(kLong), std::nullopt) << "it has ended by itself";
  child.Stop(kLong);
  EXPECT_GT(child.cpu(), first);
}

}  // namespace
}  // namespace mailrace::tools
