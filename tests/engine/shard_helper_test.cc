// Work that leaves the shard, and comes back or is not waited for any more.
#include "engine/shard_helper.h"

#include <algorithm>
#include <future>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;

// Does nothing until it is told.
class LaterHelper final : public Helper {
 public:
  void Run(std::function<void()> work, std::function<void()> done) override {
    waiting_.push_back({std::move(work), std::move(done)});
  }
  void Finish() {
    for (auto& [work, done] : std::exchange(waiting_, {})) {
      work();
      done();
    }
  }

 private:
  std::vector<std::pair<std::function<void()>, std::function<void()>>> waiting_;
};

class ShardTokensTest : public testing::Test {
 protected:
  // What comes of it is added to answers_.
  static Task<void> Ask(ShardTokens* tokens, std::string source,
                        std::vector<std::string>* answers) {
    tokens::TokenSpec spec{std::move(source), absl::Seconds(300), absl::Seconds(1)};
    const absl::StatusOr<std::string> token = co_await tokens->Get(spec, "");
    answers->push_back(token.ok() ? *token : "error");
  }
  void Ask(std::string source) {
    scope_.Spawn(Ask(&tokens_, std::move(source), &answers_));
    loop_.RunAllReady();
  }

  SimClock clock_;
  Loop loop_{&clock_};
  LaterHelper helper_;
  int fetched_ = 0;
  tokens::TokenStore store_{
      &clock_,
      [this](const tokens::TokenSpec& spec, absl::Time now) -> absl::StatusOr<tokens::Token> {
        ++fetched_;
        return tokens::Token{"token of " + spec.source, now + absl::Seconds(1000)};
      }};
  ShardTokens tokens_{&loop_, &helper_, &store_};
  std::vector<std::string> answers_;
  TaskScope scope_{&loop_};
};

TEST_F(ShardTokensTest, WhoAsksTogetherCausesOneFetch) {
  Ask("a");
  Ask("a");
  EXPECT_TRUE(answers_.empty());
  helper_.Finish();
  loop_.RunAllReady();
  EXPECT_THAT(answers_, ElementsAre("token of a", "token of a"));
  EXPECT_EQ(fetched_, 1);
}

TEST_F(ShardTokensTest, AStopWaitsForNothingAndALateAnswerDoesNoHarm) {
  Ask("a");
  tokens_.Cancel();
  loop_.RunAllReady();
  EXPECT_THAT(answers_, ElementsAre("error"));
  EXPECT_EQ(scope_.running(), 0u);
  helper_.Finish();
  loop_.RunAllReady();
  Ask("b");
  EXPECT_THAT(answers_, ElementsAre("error", "error"));
}

TEST(HelperThreadsTest, WorkIsDoneInOrderAndItsEndIsPosted) {
  struct AtOnce final : ShardPost {
    void Post(std::function<void()> call) override { call(); }
  } post;
  HelperThreads thread("test");
  ShardHelper helper(&thread, &post);
  std::vector<int> order;
  std::promise<void> finished;
  helper.Run([&] { order.push_back(1); }, [&] { order.push_back(2); });
  helper.Run([&] { order.push_back(3); }, [&] { finished.set_value(); });
  finished.get_future().wait();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(HelperThreadsTest, WhatRunsHearsOfTheStop) {
  std::promise<void> begun;
  std::promise<void> heard;
  {
    HelperThreads thread("test");
    thread.Enqueue("", [&] {
      begun.set_value();
      while (!thread.stopping()) std::this_thread::yield();
      heard.set_value();
    });
    begun.get_future().wait();
  }
  heard.get_future().wait();
}

TEST(HelperThreadsTest, ASlowAccountKeepsNoOtherWaiting) {
  std::promise<void> slow_begun;
  std::promise<void> let_slow_end;
  std::promise<void> other_done;
  HelperThreads threads("test", 2);
  threads.Enqueue("slow", [&] {
    slow_begun.set_value();
    let_slow_end.get_future().wait();
  });
  slow_begun.get_future().wait();
  // Sessions of the slow one queue up behind it, and take no thread meanwhile.
  for (int i = 0; i < 10; ++i) threads.Enqueue("slow", [] {});
  threads.Enqueue("other", [&] { other_done.set_value(); });
  other_done.get_future().wait();
  let_slow_end.set_value();
}

TEST(HelperThreadsTest, WorksOfOneKeyAreDoneInOrderAndOneAtATime) {
  constexpr int kWorks = 200;
  struct Seen {
    bool busy = false;
    bool overlap = false;
    std::vector<int> order;
  } seen[2];  // Not locked: a thread sanitizer would see an overlap too.
  std::promise<void> done[2];
  {
    HelperThreads threads("test", 4);
    for (int i = 0; i < kWorks; ++i) {
      for (int key = 0; key < 2; ++key) {
        threads.Enqueue(std::to_string(key), [&seen = seen[key], &done = done[key], i] {
          seen.overlap = seen.overlap || std::exchange(seen.busy, true);
          seen.order.push_back(i);
          std::this_thread::yield();
          seen.busy = false;
          if (i == kWorks - 1) done.set_value();
        });
      }
    }
    for (std::promise<void>& each : done) each.get_future().wait();
  }
  for (const Seen& each : seen) {
    EXPECT_FALSE(each.overlap);
    EXPECT_TRUE(std::is_sorted(each.order.begin(), each.order.end()));
    EXPECT_EQ(each.order.size(), static_cast<size_t>(kWorks));
  }
}

}  // namespace
}  // namespace mailrace::engine
