// How queue_memory_limit is shared out, so that the process stays within it whatever the
// backlog: a quarter for what RocksDB has not yet written to tables, a sixteenth for blocks
// of tables, an eighth for jobs, a quarter for messages. The rest is for what nobody
// counts: sessions, groups on their way to the disk, what the allocator loses. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mailrace::engine {

struct MemoryBudget {
  size_t memtable_octets = 0;   // Of the process.
  size_t cache_octets = 0;      // Of the process.
  size_t jobs_max = 0;          // Of one shard.
  uint64_t message_octets = 0;  // Of one shard.
};

// REQUIRES: shards > 0.
MemoryBudget ShareMemory(uint64_t limit, int shards);

}  // namespace mailrace::engine
