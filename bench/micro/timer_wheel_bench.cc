// Deadlines: every read and write sets one, and almost all are cancelled. Measured beside
// many others that are armed, because that is where a heap would suffer.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/random.h"
#include "base/timer_wheel.h"

namespace mailrace {
namespace {

class CountingTimer final : public Timer {
 public:
  static inline int64_t fired = 0;

 private:
  void Fire() override { ++fired; }
};

constexpr int64_t kSecond = 1'000'000'000;

// Deadlines as SMTP has them: seconds to minutes ahead.
int64_t SmtpTimeout(SeededRandom* random) {
  return kSecond * 30 + static_cast<int64_t>(random->Below(570 * kSecond));
}

void BM_ArmAndCancel(benchmark::State& state) {
  SeededRandom random(1);
  TimerWheel wheel({0});
  std::vector<CountingTimer> others(static_cast<size_t>(state.range(0)));
  for (CountingTimer& timer : others) wheel.Arm(&timer, {SmtpTimeout(&random)});
  CountingTimer timer;
  int64_t deadline = 30 * kSecond;
  for (auto _ : state) {
    wheel.Arm(&timer, {deadline});
    deadline += 1000;
    timer.Disarm();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ArmAndCancel)->Arg(0)->Arg(1'000)->Arg(100'000);

// Every timer lives to its end: arming, moving down the levels, firing.
void BM_ArmAndFire(benchmark::State& state) {
  SeededRandom random(2);
  std::vector<CountingTimer> timers(10'000);
  for (auto _ : state) {
    TimerWheel wheel({0});
    for (CountingTimer& timer : timers) wheel.Arm(&timer, {SmtpTimeout(&random)});
    wheel.Advance({700 * kSecond});
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(timers.size()));
}
BENCHMARK(BM_ArmAndFire);

// What each turn of a shard pays although nothing is due.
void BM_TurnWithNothingDue(benchmark::State& state) {
  SeededRandom random(3);
  TimerWheel wheel({0});
  std::vector<CountingTimer> timers(static_cast<size_t>(state.range(0)));
  for (CountingTimer& timer : timers) wheel.Arm(&timer, {int64_t{1} << 60});
  int64_t now = 0;
  for (auto _ : state) {
    now += 50'000;
    wheel.Advance({now});
    benchmark::DoNotOptimize(wheel.NextWake());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_TurnWithNothingDue)->Arg(0)->Arg(10'000);

}  // namespace
}  // namespace mailrace
