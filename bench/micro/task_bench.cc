// What suspension costs: a dialogue makes a task a step, so this times some tens of
// steps is the engine's own share of a message.
#include <benchmark/benchmark.h>

#include "base/clock.h"
#include "base/sync.h"
#include "base/task.h"

namespace mailrace {
namespace {

Task<int> Return(int value) { co_return value; }

Task<void> AwaitReady(int children, int64_t* sum) {
  for (int n = 0; n < children; ++n) {
    const int value = co_await Return(n);
    *sum += value;
  }
}

void RunAll(Loop* loop) { loop->RunAllReady(); }

// A child that never suspends: frame, start, end.
void BM_AwaitReadyChild(benchmark::State& state) {
  SimClock clock;
  Loop loop(&clock);
  constexpr int kChildren = 1000;
  int64_t sum = 0;
  for (auto _ : state) {
    TaskScope scope(&loop);
    scope.Spawn(AwaitReady(kChildren, &sum));
    RunAll(&loop);
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * kChildren);
}
BENCHMARK(BM_AwaitReadyChild);

Task<int> Nested(int depth) {
  if (depth == 0) co_return 0;
  const int below = co_await Nested(depth - 1);
  co_return below + 1;
}

Task<void> AwaitNested(int depth) {
  const int value = co_await Nested(depth);
  benchmark::DoNotOptimize(value);
}

// Engine, session, stream, connection: a chain of calls at its usual depth.
void BM_AwaitNestedChildren(benchmark::State& state) {
  SimClock clock;
  Loop loop(&clock);
  const auto depth = static_cast<int>(state.range(0));
  for (auto _ : state) {
    TaskScope scope(&loop);
    scope.Spawn(AwaitNested(depth));
    RunAll(&loop);
  }
  state.SetItemsProcessed(state.iterations() * depth);
}
BENCHMARK(BM_AwaitNestedChildren)->Arg(4)->Arg(16);

// A detached task through the loop: what each accepted message begins with.
void BM_SpawnAndFinish(benchmark::State& state) {
  SimClock clock;
  Loop loop(&clock);
  TaskScope scope(&loop);
  int64_t sum = 0;
  for (auto _ : state) {
    for (int n = 0; n < 100; ++n) scope.Spawn(AwaitReady(0, &sum));
    RunAll(&loop);
  }
  state.SetItemsProcessed(state.iterations() * 100);
}
BENCHMARK(BM_SpawnAndFinish);

Task<void> WaitTimes(Event* event, int times) {
  for (int n = 0; n < times; ++n) {
    const bool notified = co_await event->Wait();
    benchmark::DoNotOptimize(notified);
  }
}

// Suspend on a condition, be notified, resume through the loop.
void BM_EventRoundTrip(benchmark::State& state) {
  SimClock clock;
  Loop loop(&clock);
  constexpr int kTimes = 1000;
  for (auto _ : state) {
    TaskScope scope(&loop);
    Event event(&loop);
    scope.Spawn(WaitTimes(&event, kTimes));
    RunAll(&loop);
    while (event.NotifyOne()) RunAll(&loop);
  }
  state.SetItemsProcessed(state.iterations() * kTimes);
}
BENCHMARK(BM_EventRoundTrip);

}  // namespace
}  // namespace mailrace
