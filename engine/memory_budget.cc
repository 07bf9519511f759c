#include "engine/memory_budget.h"

#include <algorithm>

namespace mailrace::engine {

namespace {

// More would only make the replay of the log at start longer, or hold blocks that are read
// once.
constexpr uint64_t kMemtableOctetsMax = 256 << 20;
constexpr uint64_t kCacheOctetsMax = 64 << 20;

// A job with its places in the indices: 88 octets, 8 to 24, 16 to 32.
constexpr uint64_t kJobOctets = 144;

}  // namespace

MemoryBudget ShareMemory(uint64_t limit, int shards) {
  const auto parts = static_cast<uint64_t>(shards);
  MemoryBudget budget;
  budget.memtable_octets = std::min(limit / 4, kMemtableOctetsMax);
  budget.cache_octets = std::min(limit / 16, kCacheOctetsMax);
  budget.jobs_max = limit / 8 / kJobOctets / parts;
  budget.message_octets = limit / 4 / parts;
  return budget;
}

}  // namespace mailrace::engine
