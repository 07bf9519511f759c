#include "engine/memory_budget.h"

#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

TEST(MemoryBudgetTest, WhatIsCountedLeavesAQuarterOfTheLimitToTheRest) {
  for (const uint64_t limit : {uint64_t{16} << 20, uint64_t{512} << 20, uint64_t{64} << 30}) {
    for (const int shards : {1, 2, 64}) {
      const MemoryBudget budget = ShareMemory(limit, shards);
      const uint64_t jobs = uint64_t{144} * budget.jobs_max * static_cast<uint64_t>(shards);
      const uint64_t messages = budget.message_octets * static_cast<uint64_t>(shards);
      EXPECT_LE(budget.memtable_octets + budget.cache_octets + jobs + messages, limit * 3 / 4);
    }
  }
}

TEST(MemoryBudgetTest, TheDefaultLimitHoldsHundredsOfThousandsOfJobs) {
  EXPECT_EQ(ShareMemory(uint64_t{512} << 20, 2).jobs_max, 233'016u);
}

TEST(MemoryBudgetTest, EvenTheSmallestLimitHoldsJobsForEachShard) {
  EXPECT_GT(ShareMemory(uint64_t{16} << 20, 64).jobs_max, 200u);
}

}  // namespace
}  // namespace mailrace::engine
