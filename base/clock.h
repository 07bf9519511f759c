// Time as the engine sees it. Logic never asks the operating system: it is
// handed a Clock, so that a simulation can own time (invariant I7).
#pragma once

#include <compare>
#include <cstdint>

#include "absl/time/time.h"

namespace mailrace {

// A point on the monotonic clock: timers, deadlines, durations of stages.
// Has no relation to the wall clock and none across processes.
struct MonoTime {
  int64_t nanos = 0;

  static constexpr MonoTime Infinite() { return {INT64_MAX}; }
  bool infinite() const { return nanos == INT64_MAX; }

  friend auto operator<=>(const MonoTime&, const MonoTime&) = default;
  // Saturates at Infinite().
  friend MonoTime operator+(MonoTime t, absl::Duration d) {
    if (t.infinite() || d == absl::InfiniteDuration()) return Infinite();
    int64_t sum;
    if (__builtin_add_overflow(t.nanos, absl::ToInt64Nanoseconds(d), &sum)) return Infinite();
    return {sum};
  }
  // Infinite when `a` alone is.
  friend absl::Duration operator-(MonoTime a, MonoTime b) {
    if (a.infinite() && !b.infinite()) return absl::InfiniteDuration();
    return absl::Nanoseconds(a.nanos) - absl::Nanoseconds(b.nanos);
  }
};

// Thread-safe: any thread may read.
class Clock {
 public:
  virtual ~Clock() = default;
  // For stamps that people and other hosts read, and for ages that outlive the
  // process. May jump either way.
  virtual absl::Time Wall() const = 0;
  // For deadlines and measurements. Never goes back.
  virtual MonoTime Mono() const = 0;
};

// CLOCK_REALTIME and CLOCK_MONOTONIC.
class SystemClock final : public Clock {
 public:
  absl::Time Wall() const override;
  MonoTime Mono() const override;
};

// Time that moves only when told to. Not thread-safe.
class SimClock final : public Clock {
 public:
  explicit SimClock(absl::Time start = absl::FromUnixSeconds(1'800'000'000)) : wall_(start) {}
  absl::Time Wall() const override { return wall_; }
  MonoTime Mono() const override { return mono_; }
  // Both clocks go on by `d`. REQUIRES: d >= 0.
  void Advance(absl::Duration d) {
    wall_ += d;
    mono_ = mono_ + d;
  }
  void AdvanceTo(MonoTime t) {
    if (t > mono_) Advance(t - mono_);
  }
  // The wall clock alone jumps (an operator or NTP set it).
  void JumpWall(absl::Duration d) { wall_ += d; }

 private:
  absl::Time wall_;
  MonoTime mono_{1};
};

}  // namespace mailrace
