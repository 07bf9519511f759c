#include "engine/admin/process_usage.h"

#include <dirent.h>
#include <sys/types.h>
#include <time.h>

#include <charconv>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>

namespace mailrace::engine {

namespace {

// As the kernel composes the identifiers that pthread_getcpuclockid(3) gives, for threads of
// whom we only know the number (linux/posix-timers.h, CPUCLOCK_SCHED of one thread).
clockid_t CpuClockOf(pid_t thread) {
  constexpr unsigned kPerThreadScheduled = 4 | 2;
  return static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | kPerThreadScheduled);
}

absl::Duration Read(clockid_t clock) {
  timespec time{};
  return clock_gettime(clock, &time) == 0 ? absl::DurationFromTimespec(time) : absl::ZeroDuration();
}

void LookAtThreads(std::map<std::string, absl::Duration>* threads) {
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  if (tasks == nullptr) return;
  while (const dirent* entry = readdir(tasks.get())) {
    const std::string_view name = entry->d_name;
    pid_t thread = 0;
    const std::from_chars_result parsed =
        std::from_chars(name.data(), name.data() + name.size(), thread);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
    std::ifstream file("/proc/self/task/" + std::string(name) + "/comm");
    std::string called;
    if (!std::getline(file, called)) continue;  // It has just ended.
    // The kernel's own workers, one a request that would have blocked: "iou-wrk-1234".
    if (called.starts_with("iou-wrk-")) called = "iou-wrk";
    (*threads)[called] += Read(CpuClockOf(thread));
  }
}

// The number behind "NAME:" in a file of such lines, or 0.
uint64_t Field(const char* path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word == name) {
      uint64_t value = 0;
      file >> value;
      return value;
    }
  }
  return 0;
}

}  // namespace

ProcessUsage LookAtProcess() {
  constexpr uint64_t kKibi = 1024;
  ProcessUsage usage;
  LookAtThreads(&usage.threads);
  usage.cpu = Read(CLOCK_PROCESS_CPUTIME_ID);
  usage.resident_octets = Field("/proc/self/status", "VmRSS:") * kKibi;
  usage.resident_octets_max = Field("/proc/self/status", "VmHWM:") * kKibi;
  usage.written_octets = Field("/proc/self/io", "write_bytes:");
  usage.read_octets = Field("/proc/self/io", "read_bytes:");
  return usage;
}

}  // namespace mailrace::engine
