#include "base/timer_wheel.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

constexpr int64_t kTick = TimerWheel::kTickNanos;

class TestTimer final : public Timer {
 public:
  std::function<void()> on_fire;
  int fired = 0;

 private:
  void Fire() override {
    ++fired;
    if (on_fire) on_fire();
  }
};

MonoTime Ticks(int64_t n) { return {n * kTick}; }

TEST(TimerWheel, FiresAtItsDeadlineAndNotBefore) {
  TimerWheel wheel(Ticks(100));
  TestTimer timer;
  wheel.Arm(&timer, Ticks(105));
  wheel.Advance(Ticks(104));
  EXPECT_EQ(timer.fired, 0);
  EXPECT_TRUE(timer.armed());
  wheel.Advance(Ticks(105));
  EXPECT_EQ(timer.fired, 1);
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(wheel.armed(), 0u);
}

TEST(TimerWheel, DeadlinesBetweenTicksAreRoundedUp) {
  TimerWheel wheel(Ticks(0));
  TestTimer timer;
  wheel.Arm(&timer, {kTick + 1});
  wheel.Advance({2 * kTick - 1});
  EXPECT_EQ(timer.fired, 0);
  wheel.Advance({2 * kTick});
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, ADeadlineInThePastFiresAtTheNextTick) {
  TimerWheel wheel(Ticks(1000));
  TestTimer timer;
  wheel.Arm(&timer, Ticks(3));
  EXPECT_EQ(wheel.NextWake(), Ticks(1001));
  wheel.Advance(Ticks(1001));
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, AnInfiniteDeadlineOnlyDisarms) {
  TimerWheel wheel(Ticks(0));
  TestTimer timer;
  wheel.Arm(&timer, Ticks(5));
  wheel.Arm(&timer, MonoTime::Infinite());
  EXPECT_FALSE(timer.armed());
  EXPECT_TRUE(wheel.NextWake().infinite());
}

TEST(TimerWheel, RearmingMovesTheDeadline) {
  TimerWheel wheel(Ticks(0));
  TestTimer timer;
  wheel.Arm(&timer, Ticks(5));
  wheel.Arm(&timer, Ticks(5000));
  EXPECT_EQ(wheel.armed(), 1u);
  wheel.Advance(Ticks(4999));
  EXPECT_EQ(timer.fired, 0);
  wheel.Advance(Ticks(5000));
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, ADestroyedTimerIsForgotten) {
  TimerWheel wheel(Ticks(0));
  {
    TestTimer timer;
    wheel.Arm(&timer, Ticks(5));
  }
  EXPECT_EQ(wheel.armed(), 0u);
  wheel.Advance(Ticks(10));
}

TEST(TimerWheel, TimersOutliveTheWheel) {
  TestTimer timer;
  {
    TimerWheel wheel(Ticks(0));
    wheel.Arm(&timer, Ticks(5));
  }
  EXPECT_FALSE(timer.armed());
}

TEST(TimerWheel, FireMayArmItselfAgain) {
  TimerWheel wheel(Ticks(0));
  TestTimer timer;
  int64_t next = 10;
  timer.on_fire = [&] {
    next += 10;
    wheel.Arm(&timer, Ticks(next));
  };
  wheel.Arm(&timer, Ticks(10));
  wheel.Advance(Ticks(100));
  EXPECT_EQ(timer.fired, 10);
}

TEST(TimerWheel, FireMayDisarmAndDestroyItsNeighbours) {
  TimerWheel wheel(Ticks(0));
  auto victim = std::make_unique<TestTimer>();
  TestTimer disarmed;
  std::vector<std::unique_ptr<TestTimer>> killers;
  for (int n = 0; n < 2; ++n) {
    killers.push_back(std::make_unique<TestTimer>());
    killers.back()->on_fire = [&] {
      victim.reset();
      disarmed.Disarm();
    };
  }
  wheel.Arm(killers[0].get(), Ticks(5));
  wheel.Arm(victim.get(), Ticks(6));
  wheel.Arm(&disarmed, Ticks(6));
  wheel.Advance(Ticks(6));
  EXPECT_EQ(killers[0]->fired, 1);
  EXPECT_EQ(victim, nullptr);
  EXPECT_EQ(disarmed.fired, 0);
}

TEST(TimerWheel, FireMayDestroyItsOwnTimer) {
  TimerWheel wheel(Ticks(0));
  auto timer = std::make_unique<TestTimer>();
  timer->on_fire = [&] { timer.reset(); };
  wheel.Arm(timer.get(), Ticks(5));
  TestTimer other;
  wheel.Arm(&other, Ticks(5));
  wheel.Advance(Ticks(5));
  EXPECT_EQ(timer, nullptr);
  EXPECT_EQ(other.fired, 1);
}

// Each level's borders, from starts that make the digits carry.
TEST(TimerWheel, EveryLevelFiresOnTime) {
  for (const int64_t start :
       {int64_t{0}, int64_t{63}, int64_t{4095}, int64_t{262'143}, int64_t{1'234'567'890}}) {
    int64_t distance = 1;
    for (int level = 0; level < 6; ++level, distance *= 64) {
      for (const int64_t off : {-1, 0, 1, 63}) {
        if (distance + off <= 0) continue;
        TimerWheel wheel(Ticks(start));
        TestTimer timer;
        const int64_t deadline = start + distance + off;
        wheel.Arm(&timer, Ticks(deadline));
        EXPECT_LE(wheel.NextWake(), Ticks(deadline));
        wheel.Advance(Ticks(deadline - 1));
        EXPECT_EQ(timer.fired, 0) << start << "+" << distance << "+" << off;
        wheel.Advance(Ticks(deadline));
        EXPECT_EQ(timer.fired, 1) << start << "+" << distance << "+" << off;
      }
    }
  }
}

TEST(TimerWheel, DeadlinesBeyondTheWheelFireOnTime) {
  const int64_t turn = int64_t{1} << 42;  // 64^7 ticks: what the wheel spans.
  for (const int64_t start : {int64_t{5}, turn - 3}) {
    for (const int64_t deadline : {turn - 1, turn, turn + 1, turn + 12345, 2 * turn + 1}) {
      if (deadline <= start) continue;
      TimerWheel wheel(Ticks(start));
      TestTimer timer;
      wheel.Arm(&timer, Ticks(deadline));
      wheel.Advance(Ticks(deadline - 1));
      EXPECT_EQ(timer.fired, 0) << start << " to " << deadline;
      wheel.Advance(Ticks(deadline));
      EXPECT_EQ(timer.fired, 1) << start << " to " << deadline;
    }
  }
}

TEST(TimerWheel, TheLastDeadlineBeforeInfinityIsSafe) {
  TimerWheel wheel(Ticks(1));
  TestTimer timer;
  wheel.Arm(&timer, {INT64_MAX - 1});
  EXPECT_TRUE(timer.armed());
  wheel.Advance(Ticks(1'000'000));
  EXPECT_EQ(timer.fired, 0);
}

// The obvious implementation: a sorted map.
class Model {
 public:
  void Arm(int id, int64_t deadline_nanos, int64_t now_tick) {
    Disarm(id);
    int64_t due = (deadline_nanos + kTick - 1) / kTick;
    if (due <= now_tick) due = now_tick + 1;
    due_[id] = due;
  }
  void Disarm(int id) { due_.erase(id); }
  std::multiset<int> Advance(int64_t tick) {
    std::multiset<int> fired;
    for (auto it = due_.begin(); it != due_.end();) {
      if (it->second <= tick) {
        fired.insert(it->first);
        it = due_.erase(it);
      } else {
        ++it;
      }
    }
    return fired;
  }
  size_t armed() const { return due_.size(); }
  int64_t NextDue() const {
    int64_t next = INT64_MAX;
    for (const auto& [id, due] : due_) next = std::min(next, due);
    return next;
  }

 private:
  std::map<int, int64_t> due_;
};

// A distance whose magnitude is as random as its value: near, far, and very far.
int64_t RandomDistance(SeededRandom* random, int bits_max) {
  return static_cast<int64_t>(random->Next64() >> (64 - 1 - random->Below(bits_max)));
}

TEST(TimerWheel, BehavesLikeTheNaiveModel) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SeededRandom random(seed);
    int64_t now = RandomDistance(&random, 45);
    TimerWheel wheel({now});
    Model model;
    constexpr int kTimers = 50;
    std::vector<TestTimer> timers(kTimers);
    std::multiset<int> fired;
    for (int id = 0; id < kTimers; ++id) timers[id].on_fire = [&fired, id] { fired.insert(id); };
    for (int step = 0; step < 2000; ++step) {
      const int id = static_cast<int>(random.Below(kTimers));
      switch (random.Below(4)) {
        case 0:
        case 1: {
          const int64_t deadline = now + RandomDistance(&random, 58) - kTick;
          wheel.Arm(&timers[id], {deadline});
          model.Arm(id, deadline, now / kTick);
          break;
        }
        case 2:
          timers[id].Disarm();
          model.Disarm(id);
          break;
        default:
          // Far jumps seldom, or the clock would leave the wheel's span.
          now += RandomDistance(&random, random.Below(50) == 0 ? 52 : 30);
          wheel.Advance({now});
          ASSERT_EQ(fired, model.Advance(now / kTick)) << "seed " << seed << " step " << step;
          fired.clear();
      }
      ASSERT_EQ(wheel.armed(), model.armed()) << "seed " << seed << " step " << step;
      if (model.armed() == 0) {
        ASSERT_TRUE(wheel.NextWake().infinite());
      } else {
        ASSERT_LE(wheel.NextWake().nanos / kTick, model.NextDue()) << "seed " << seed;
        ASSERT_GT(wheel.NextWake().nanos / kTick, now / kTick) << "seed " << seed;
      }
    }
  }
}

TEST(TimerWheel, FiresInTheOrderOfTicks) {
  SeededRandom random(7);
  TimerWheel wheel(Ticks(0));
  std::vector<TestTimer> timers(500);
  std::vector<int64_t> order;
  for (TestTimer& timer : timers) {
    const int64_t due = 1 + static_cast<int64_t>(random.Below(1'000'000));
    timer.on_fire = [&order, due] { order.push_back(due); };
    wheel.Arm(&timer, Ticks(due));
  }
  wheel.Advance(Ticks(1'000'000));
  ASSERT_EQ(order.size(), timers.size());
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace mailrace
