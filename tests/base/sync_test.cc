#include "base/sync.h"

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

using Log = std::vector<std::string>;

class SyncTest : public testing::Test {
 protected:
  void RunReady() { loop_.RunAllReady(); }
  void Advance(absl::Duration d) {
    clock_.Advance(d);
    RunReady();
  }
  MonoTime In(absl::Duration d) { return clock_.Mono() + d; }

  SimClock clock_;
  Loop loop_{&clock_};
  Log log_;
};

Task<void> Note(Log* log, std::string entry) {
  log->push_back(std::move(entry));
  co_return;
}

Task<void> WaitFor(Event* event, MonoTime deadline, Log* log, std::string name) {
  const bool notified = co_await event->Wait(deadline);
  log->push_back(name + (notified ? " notified" : " timed out"));
}

Task<void> JoinThenNote(TaskScope* scope, Log* log) {
  co_await scope->Join();
  log->push_back("joined");
}

Task<void> SleepThenNote(Loop* loop, MonoTime until, Log* log, std::string entry) {
  co_await SleepUntil(loop, until);
  log->push_back(std::move(entry));
}

// --- Loop ---

TEST_F(SyncTest, SleepersWakeInTheOrderOfTheirDeadlines) {
  TaskScope scope(&loop_);
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(2)), &log_, "late"));
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(1)), &log_, "early"));
  scope.Spawn(SleepThenNote(&loop_, MonoTime{0}, &log_, "past"));
  RunReady();
  EXPECT_EQ(log_, Log{"past"});
  Advance(absl::Milliseconds(999));
  EXPECT_EQ(log_, Log{"past"});
  Advance(absl::Milliseconds(2));
  EXPECT_EQ(log_, (Log{"past", "early"}));
  Advance(absl::Seconds(1));
  EXPECT_EQ(log_, (Log{"past", "early", "late"}));
}

TEST_F(SyncTest, NextWakeIsNowWhenSomethingIsReady) {
  EXPECT_TRUE(loop_.NextWake().infinite());
  TaskScope scope(&loop_);
  scope.Spawn(Note(&log_, "x"));
  EXPECT_EQ(loop_.NextWake(), loop_.now());
  RunReady();
  EXPECT_TRUE(loop_.NextWake().infinite());
}

Task<void> Respawn(Loop* loop, int* turns) {
  while (*turns < 10'000) {
    struct Yield {
      Loop* loop;
      bool await_ready() const { return false; }
      void await_suspend(std::coroutine_handle<> handle) { loop->Resume(handle); }
      void await_resume() const {}
    };
    ++*turns;
    co_await Yield{loop};
  }
}

TEST_F(SyncTest, RunReadyComesBackSoThatCompletionsGetTheirTurn) {
  TaskScope scope(&loop_);
  int turns = 0;
  scope.Spawn(Respawn(&loop_, &turns));
  loop_.RunReady();
  EXPECT_TRUE(loop_.has_ready());
  EXPECT_EQ(turns, 1);
  RunReady();
  EXPECT_EQ(turns, 10'000);
}

TEST_F(SyncTest, CallbackTimerCallsOnce) {
  int calls = 0;
  CallbackTimer timer([&] { ++calls; });
  loop_.timers().Arm(&timer, In(absl::Seconds(1)));
  Advance(absl::Seconds(5));
  Advance(absl::Seconds(5));
  EXPECT_EQ(calls, 1);
}

// --- TaskScope ---

TEST_F(SyncTest, SpawnedTasksStartAtTheNextTurn) {
  TaskScope scope(&loop_);
  scope.Spawn(Note(&log_, "a"));
  scope.Spawn(Note(&log_, "b"));
  EXPECT_TRUE(log_.empty());
  EXPECT_EQ(scope.running(), 2u);
  RunReady();
  EXPECT_EQ(log_, (Log{"a", "b"}));
  EXPECT_EQ(scope.running(), 0u);
}

TEST_F(SyncTest, JoinWaitsForTheLastTask) {
  TaskScope scope(&loop_);
  TaskScope outer(&loop_);
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(1)), &log_, "one"));
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(2)), &log_, "two"));
  outer.Spawn(JoinThenNote(&scope, &log_));
  RunReady();
  Advance(absl::Milliseconds(1500));
  EXPECT_EQ(log_, Log{"one"});
  Advance(absl::Seconds(1));
  EXPECT_EQ(log_, (Log{"one", "two", "joined"}));
}

TEST_F(SyncTest, JoinOfNothingIsImmediate) {
  TaskScope scope(&loop_);
  TaskScope outer(&loop_);
  outer.Spawn(JoinThenNote(&scope, &log_));
  RunReady();
  EXPECT_EQ(log_, Log{"joined"});
}

Task<void> SpawnMore(TaskScope* scope, Loop* loop, MonoTime until, Log* log) {
  scope->Spawn(SleepThenNote(loop, until, log, "grandchild"));
  co_return;
}

TEST_F(SyncTest, JoinWaitsForTasksSpawnedMeanwhile) {
  TaskScope scope(&loop_);
  TaskScope outer(&loop_);
  scope.Spawn(SpawnMore(&scope, &loop_, In(absl::Seconds(1)), &log_));
  outer.Spawn(JoinThenNote(&scope, &log_));
  RunReady();
  EXPECT_TRUE(log_.empty());
  Advance(absl::Seconds(2));
  EXPECT_EQ(log_, (Log{"grandchild", "joined"}));
}

// The joiner is woken in a later turn: what was spawned in between counts too.
TEST_F(SyncTest, JoinWaitsForATaskSpawnedAfterTheLastEnded) {
  TaskScope scope(&loop_);
  TaskScope outer(&loop_);
  outer.Spawn(JoinThenNote(&scope, &log_));
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(1)), &log_, "first"));
  loop_.RunAllReady();
  clock_.Advance(absl::Seconds(2));
  // One turn a call: the sleeper ends, its joiner is ready but has not run.
  while (scope.running() > 0) loop_.RunReady();
  ASSERT_EQ(log_, Log{"first"});
  scope.Spawn(SleepThenNote(&loop_, In(absl::Seconds(1)), &log_, "second"));
  RunReady();
  EXPECT_EQ(log_, Log{"first"});
  Advance(absl::Seconds(2));
  EXPECT_EQ(log_, (Log{"first", "second", "joined"}));
}

TEST(TaskScopeDeathTest, DestroyedWhileRunningEndsTheProcess) {
  EXPECT_DEATH(
      {
        SimClock clock;
        Loop loop(&clock);
        Log log;
        TaskScope scope(&loop);
        scope.Spawn(Note(&log, "never"));
      },
      "TaskScope destroyed with 1 tasks running");
}

// --- Event ---

TEST_F(SyncTest, NotifyOneWakesTheLastThatCame) {
  TaskScope scope(&loop_);
  Event event(&loop_);
  EXPECT_FALSE(event.NotifyOne());
  scope.Spawn(WaitFor(&event, MonoTime::Infinite(), &log_, "first"));
  scope.Spawn(WaitFor(&event, MonoTime::Infinite(), &log_, "second"));
  RunReady();
  EXPECT_TRUE(event.has_waiters());
  EXPECT_TRUE(event.NotifyOne());
  EXPECT_TRUE(log_.empty()) << "resumed inside the call";
  RunReady();
  EXPECT_EQ(log_, Log{"second notified"});
  EXPECT_TRUE(event.NotifyOne());
  EXPECT_FALSE(event.NotifyOne());
  RunReady();
  EXPECT_EQ(log_, (Log{"second notified", "first notified"}));
  EXPECT_FALSE(event.has_waiters());
}

TEST_F(SyncTest, EachWaiterHasItsOwnDeadline) {
  TaskScope scope(&loop_);
  Event event(&loop_);
  scope.Spawn(WaitFor(&event, In(absl::Seconds(1)), &log_, "a"));
  scope.Spawn(WaitFor(&event, In(absl::Seconds(3)), &log_, "b"));
  scope.Spawn(WaitFor(&event, In(absl::Seconds(2)), &log_, "c"));
  scope.Spawn(WaitFor(&event, MonoTime{0}, &log_, "past"));
  RunReady();
  Advance(absl::Milliseconds(2500));  // The first and the middle of the list go.
  EXPECT_EQ(log_, (Log{"past timed out", "a timed out", "c timed out"}));
  event.NotifyAll();
  RunReady();
  EXPECT_EQ(log_.back(), "b notified");
  EXPECT_EQ(loop_.timers().armed(), 0u);
}

TEST_F(SyncTest, NotificationBeforeTheDeadlineCountsOnce) {
  TaskScope scope(&loop_);
  Event event(&loop_);
  scope.Spawn(WaitFor(&event, In(absl::Seconds(1)), &log_, "a"));
  RunReady();
  event.NotifyOne();
  Advance(absl::Seconds(2));
  EXPECT_EQ(log_, Log{"a notified"});
}

TEST_F(SyncTest, NothingIsRemembered) {
  TaskScope scope(&loop_);
  Event event(&loop_);
  event.NotifyAll();
  scope.Spawn(WaitFor(&event, In(absl::Seconds(1)), &log_, "a"));
  RunReady();
  Advance(absl::Seconds(2));
  EXPECT_EQ(log_, Log{"a timed out"});
}

// --- OneShot ---

Task<void> NoteResult(OneShot<std::string>* shot, Log* log) {
  std::string value = co_await *shot;
  log->push_back(std::move(value));
}

TEST_F(SyncTest, OneShotSetBeforeItIsAwaited) {
  TaskScope scope(&loop_);
  OneShot<std::string> shot(&loop_);
  shot.Set("ready");
  scope.Spawn(NoteResult(&shot, &log_));
  RunReady();
  EXPECT_EQ(log_, Log{"ready"});
}

TEST_F(SyncTest, OneShotSetWhileAwaitedResumesInALaterTurn) {
  TaskScope scope(&loop_);
  OneShot<std::string> shot(&loop_);
  scope.Spawn(NoteResult(&shot, &log_));
  RunReady();
  shot.Set("later");
  EXPECT_TRUE(log_.empty());
  RunReady();
  EXPECT_EQ(log_, Log{"later"});
}

}  // namespace
}  // namespace mailrace
