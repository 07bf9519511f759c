// What the kernel says that we used.
#include "engine/admin/process_usage.h"

#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

TEST(ProcessUsageTest, TheMainThreadIsAmongTheThreadsAndItsTimeGrowsWithWork) {
  const ProcessUsage before = LookAtProcess();
  ASSERT_FALSE(before.threads.empty());
  // Until the kernel has noticed: by its own account, not by ours.
  ProcessUsage after = LookAtProcess();
  while (after.cpu <= before.cpu) after = LookAtProcess();
  absl::Duration sum;
  for (const auto& [name, time] : after.threads) {
    EXPECT_FALSE(name.empty());
    sum += time;
  }
  EXPECT_GT(sum, absl::ZeroDuration());
  EXPECT_LE(sum, LookAtProcess().cpu);
}

TEST(ProcessUsageTest, MemoryIsInOctets) {
  const ProcessUsage usage = LookAtProcess();
  EXPECT_GT(usage.resident_octets, 100'000u);
  EXPECT_GE(usage.resident_octets_max, usage.resident_octets / 2);
}

}  // namespace
}  // namespace mailrace::engine
