// What this process has used up so far, by the kernel's account: CPU of each thread, memory,
// octets written. Reads /proc: not on a shard.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace mailrace::engine {

struct ProcessUsage {
  // By the names of threads that live; several may share one ("token"). A thread that nobody
  // named has the program's.
  std::map<std::string, absl::Duration> threads;
  // Of the whole process, threads that have ended included.
  absl::Duration cpu;
  uint64_t resident_octets = 0;
  uint64_t resident_octets_max = 0;  // At any time.
  // To and from disks, not caches; 0 where the kernel does not tell (/proc/PID/io).
  uint64_t written_octets = 0;
  uint64_t read_octets = 0;
};

// What cannot be read is zero, or missing.
ProcessUsage LookAtProcess();

}  // namespace mailrace::engine
