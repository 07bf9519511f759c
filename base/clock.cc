#include "base/clock.h"

#include <ctime>

namespace mailrace {

absl::Time SystemClock::Wall() const {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return absl::TimeFromTimespec(ts);
}

MonoTime SystemClock::Mono() const {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return {ts.tv_sec * 1'000'000'000 + ts.tv_nsec};
}

}  // namespace mailrace
