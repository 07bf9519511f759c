// What the scheduler costs a message: Add, Take, Finish and Defer, with an empty queue
// and beside a million deferred jobs, and the resident memory of those.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "queue/scheduler.h"

namespace mailrace::queue {
namespace {

constexpr uint64_t kBacklogIds = 1ull << 40;

void AddBacklog(Scheduler* scheduler, uint64_t jobs) {
  for (uint64_t i = 0; i < jobs; ++i) {
    // Spread like retries: no order between id and due time.
    const MonoTime due{static_cast<int64_t>(i * 0x9E3779B97F4A7C15ull >> 20) + 1'000'000'000};
    scheduler->Add({kBacklogIds + i}, "relay.example", nullptr, 1, 1, due, MonoTime{1});
  }
}

// A message that is delivered at once; the argument is the backlog beside it.
void BM_AddTakeFinish(benchmark::State& state) {
  Scheduler scheduler({});
  AddBacklog(&scheduler, static_cast<uint64_t>(state.range(0)));
  NexthopQueue* const nexthop = scheduler.Nexthop("relay.example");
  uint64_t id = 1;
  for (auto _ : state) {
    scheduler.Add({id++}, "relay.example", nullptr, 1, 1, MonoTime{1}, MonoTime{1});
    scheduler.Finish(nexthop->Take(MonoTime{1}));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_AddTakeFinish)->Arg(0)->Arg(1'000'000);

// A burst: all are added before the first is taken, so that the caches do not help.
void BM_BurstAddTakeFinish(benchmark::State& state) {
  const auto burst = static_cast<uint64_t>(state.range(0));
  Scheduler scheduler({});
  NexthopQueue* const nexthop = scheduler.Nexthop("relay.example");
  for (auto _ : state) {
    for (uint64_t id = 1; id <= burst; ++id) {
      scheduler.Add({id}, "relay.example", nullptr, 1, 1, MonoTime{1}, MonoTime{1});
    }
    while (Job* const job = nexthop->Take(MonoTime{1})) scheduler.Finish(job);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_BurstAddTakeFinish)->Arg(10'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

// A relay that greylists: taken, deferred, due, ready again.
void BM_TakeDeferAdvance(benchmark::State& state) {
  const auto jobs = static_cast<uint64_t>(state.range(0));
  Scheduler scheduler({});
  NexthopQueue* const nexthop = scheduler.Nexthop("relay.example");
  MonoTime now{1};
  for (uint64_t id = 1; id <= jobs; ++id) {
    scheduler.Add({id}, "relay.example", nullptr, 1, 1, now, now);
  }
  for (auto _ : state) {
    Job* const job = nexthop->Take(now);
    scheduler.Defer(job, now + absl::Nanoseconds(static_cast<int64_t>(jobs)));
    now = now + absl::Nanoseconds(1);
    scheduler.Advance(now);
    if (nexthop->ready() == 0) {
      now = scheduler.NextWake();
      scheduler.Advance(now);
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_TakeDeferAdvance)->Arg(1'000)->Arg(1'000'000);

void BM_FlushAll(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto scheduler = std::make_unique<Scheduler>(DestinationLimits());
    AddBacklog(scheduler.get(), static_cast<uint64_t>(state.range(0)));
    state.ResumeTiming();
    scheduler->FlushAll(MonoTime{1});
    state.PauseTiming();
    scheduler.reset();
    state.ResumeTiming();
  }
}
BENCHMARK(BM_FlushAll)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

size_t ResidentOctets() {
  size_t pages = 0;
  size_t resident = 0;
  if (FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu %zu", &pages, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return resident * 4096;
}

// Octets a deferred job costs: as the scheduler counts them, and as the kernel does. Run
// it alone (--benchmark_filter=Memory): freed memory of others would hide in the latter.
void BM_MemoryOfDeferredJobs(benchmark::State& state) {
  const auto jobs = static_cast<uint64_t>(state.range(0));
  for (auto _ : state) {
    const size_t before = ResidentOctets();
    Scheduler scheduler({});
    AddBacklog(&scheduler, jobs);
    const size_t after = ResidentOctets();
    state.counters["octets_per_job"] =
        static_cast<double>(scheduler.octets()) / static_cast<double>(jobs);
    state.counters["resident_per_job"] =
        after > before ? static_cast<double>(after - before) / static_cast<double>(jobs) : 0;
  }
}
BENCHMARK(BM_MemoryOfDeferredJobs)->Arg(1'000'000)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mailrace::queue
