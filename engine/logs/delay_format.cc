#include "engine/logs/delay_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace mailrace::logs {
namespace {

constexpr int64_t kMillion = 1'000'000;
constexpr int64_t kSignificantRange = 100;  // Two significant digits.

int64_t PowerOfTen(int exponent) {
  int64_t power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}

// The smallest step, in microseconds, that a value is shown in.
int64_t Resolution(int64_t seconds, int64_t micros, int digits_max) {
  int64_t resolution = kMillion / PowerOfTen(digits_max);
  if (resolution == kMillion) return resolution;
  if (seconds > 0) {
    int64_t above = 1;
    while (seconds >= above && above <= kSignificantRange / 10) above *= 10;
    return kMillion / kSignificantRange * above;
  }
  while (micros >= kSignificantRange * resolution) resolution *= 10;
  return resolution;
}

absl::Duration Difference(absl::Time later, absl::Time earlier) {
  return std::max(later - earlier, absl::ZeroDuration());
}

}  // namespace

std::string FormatDelay(absl::Duration delay, int digits_max) {
  const int64_t total = std::max<int64_t>(absl::ToInt64Microseconds(delay), 0);
  int64_t seconds = total / kMillion;
  int64_t micros = total % kMillion;
  const int64_t resolution = Resolution(seconds, micros, digits_max);
  if (resolution > 1) micros += resolution / 2;
  if (micros >= kMillion) {
    ++seconds;
    micros -= kMillion;
  }
  std::string text = fmt::format_int(seconds).str();
  if (micros < resolution) return text;
  text += '.';
  for (int64_t unit = kMillion / 10; micros >= resolution && unit > 0; unit /= 10) {
    text += static_cast<char>('0' + micros / unit);
    micros %= unit;
  }
  return text;
}

Delays ComputeDelays(const DeliveryStamps& stamps) {
  Delays delays;
  delays.total = Difference(stamps.done, stamps.arrival);
  if (!stamps.active) {
    delays.before_active = delays.total;
    return delays;
  }
  delays.before_active = Difference(*stamps.active, stamps.arrival);
  if (!stamps.handed_off) {
    delays.in_active_queue = Difference(stamps.done, *stamps.active);
    return delays;
  }
  delays.in_active_queue = Difference(*stamps.handed_off, *stamps.active);
  if (!stamps.connection_up) {
    delays.transmission = Difference(stamps.done, *stamps.handed_off);
    return delays;
  }
  delays.connection = Difference(*stamps.connection_up, *stamps.handed_off);
  delays.transmission = Difference(stamps.done, *stamps.connection_up);
  return delays;
}

std::string FormatDelays(const Delays& delays, int digits_max) {
  std::string text = FormatDelay(delays.before_active, digits_max);
  for (const absl::Duration delay :
       {delays.in_active_queue, delays.connection, delays.transmission}) {
    text += '/';
    text += FormatDelay(delay, digits_max);
  }
  return text;
}

}  // namespace mailrace::logs
