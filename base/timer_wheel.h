// Deadlines of one shard: a hierarchical timing wheel. O(1) to set and to cancel,
// because almost every deadline is cancelled. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace mailrace {

class TimerWheel;

// One deadline, embedded in whatever waits for it. Owner keeps it alive while
// armed; its destructor disarms it. Fire() runs on the shard, inside Advance().
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer();

  bool armed() const { return wheel_ != nullptr; }
  MonoTime deadline() const { return deadline_; }
  void Disarm();

 protected:
  // May arm and disarm any timer, this one too, and may destroy it.
  virtual void Fire() = 0;

 private:
  friend class TimerWheel;
  TimerWheel* wheel_ = nullptr;
  Timer* next_ = nullptr;
  Timer** link_ = nullptr;  // What points at us: a slot or the previous timer's next_.
  uint16_t slot_ = 0;
  MonoTime deadline_;
};

class TimerWheel {
 public:
  // Fine enough that a load source that keeps to a rate measures the server, not its own
  // clock; a tick costs nothing in which no timer is due.
  static constexpr int64_t kTickNanos = 62'500;  // A sixteenth of a millisecond.

  explicit TimerWheel(MonoTime now);
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Re-arms an armed timer. An infinite deadline only disarms. Fires at the first
  // Advance() at or after `deadline`, at most one tick late, never early.
  void Arm(Timer* timer, MonoTime deadline);

  // Fires what is due, in order of ticks.
  void Advance(MonoTime now);

  // A lower bound of the next deadline, Infinite() when nothing is armed: the loop
  // may sleep until then. Never later than the true next deadline's tick.
  MonoTime NextWake() const;

  size_t armed() const { return armed_; }

 private:
  friend class Timer;
  static constexpr int kBits = 6;
  static constexpr int kSlots = 1 << kBits;
  static constexpr int kLevels = 7;  // 64^7 ticks: nine years.

  void Link(Timer* timer);
  void Unlink(Timer* timer);
  void FireSlot(int level, int slot);

  int64_t tick_;  // All timers due at or before this tick have fired.
  size_t armed_ = 0;
  std::array<uint64_t, kLevels> occupied_{};  // One bit a slot.
  std::array<std::array<Timer*, kSlots>, kLevels> slots_{};
};

}  // namespace mailrace
