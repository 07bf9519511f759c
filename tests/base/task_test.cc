#include "base/task.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/sync.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

// Runs tasks to their end on a simulated clock.
class TaskTest : public testing::Test {
 protected:
  void Run(Task<void> task) {
    TaskScope scope(&loop_);
    scope.Spawn(std::move(task));
    loop_.RunAllReady();
    ASSERT_EQ(scope.running(), 0u);
  }
  SimClock clock_;
  Loop loop_{&clock_};
};

Task<int> Return(int value) { co_return value; }

Task<void> SumOf(int count, int64_t* sum) {
  for (int n = 0; n < count; ++n) {
    const int value = co_await Return(n);
    *sum += value;
  }
}

// Held in every build mode: debug, optimised, with sanitizers. A stack of 8 MiB would
// overflow with 9 octets a child.
TEST_F(TaskTest, AMillionReadyChildrenDoNotGrowTheStack) {
  int64_t sum = 0;
  Run(SumOf(1'000'000, &sum));
  EXPECT_EQ(sum, int64_t{999'999} * 1'000'000 / 2);
}

Task<int> Depth(int depth) {
  if (depth == 0) co_return 0;
  const int below = co_await Depth(depth - 1);
  co_return below + 1;
}

Task<void> StoreDepth(int depth, int* result) {
  const int value = co_await Depth(depth);
  *result = value;
}

TEST_F(TaskTest, ADeepChainReturnsWithoutGrowingTheStack) {
  int result = 0;
  Run(StoreDepth(100'000, &result));
  EXPECT_EQ(result, 100'000);
}

Task<void> Note(std::vector<std::string>* log, std::string entry) {
  log->push_back(std::move(entry));
  co_return;
}

Task<void> CallLater(std::vector<std::string>* log) {
  Task<void> child = Note(log, "child");
  log->push_back("made");
  co_await std::move(child);
  log->push_back("after");
}

TEST_F(TaskTest, StartsWhenAwaitedAndResumesItsAwaiter) {
  std::vector<std::string> log;
  Run(CallLater(&log));
  EXPECT_EQ(log, (std::vector<std::string>{"made", "child", "after"}));
}

Task<std::unique_ptr<int>> MoveOnly() { co_return std::make_unique<int>(7); }

Task<void> TakeMoveOnly(int* out) {
  const std::unique_ptr<int> value = co_await MoveOnly();
  *out = *value;
}

TEST_F(TaskTest, ResultsMayBeMoveOnly) {
  int out = 0;
  Run(TakeMoveOnly(&out));
  EXPECT_EQ(out, 7);
}

Task<void> Hold(std::shared_ptr<int> held) {
  ++*held;
  co_return;
}

TEST_F(TaskTest, ATaskNeverAwaitedRunsNothingAndFreesItsParameters) {
  auto held = std::make_shared<int>(0);
  {
    Task<void> task = Hold(held);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 0);
}

TEST_F(TaskTest, MovedFromTasksAreEmpty) {
  auto held = std::make_shared<int>(0);
  Task<void> first = Hold(held);
  Task<void> second = std::move(first);
  first = Hold(held);
  second = std::move(first);
  Run(std::move(second));
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(FramePool, GivesMemoryThatHoldsWhatWasAsked) {
  for (const size_t octets : {size_t{1}, size_t{127}, size_t{128}, size_t{129}, size_t{4096},
                              size_t{4097}, size_t{100'000}}) {
    void* frame = FramePool::Allocate(octets);
    std::memset(frame, 0x5a, octets);
    FramePool::Free(frame, octets);
  }
}

}  // namespace
}  // namespace mailrace
