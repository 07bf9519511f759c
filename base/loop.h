// What a coroutine may ask of the thread it runs on: to be resumed, to be woken at
// a deadline, and what time it is. One a shard; the io_uring loop and the simulator
// each drive one. Not thread-safe: other threads reach a shard by its inbox only.
#pragma once

#include <coroutine>
#include <cstddef>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/timer_wheel.h"

namespace mailrace {

class Loop {
 public:
  // `clock` is borrowed and outlives the loop.
  explicit Loop(const Clock* clock);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Resumes `handle` in this turn or the next, never inside this call.
  void Resume(std::coroutine_handle<> handle) { ready_.push_back(handle); }

  // The monotonic time at which this turn began: a deadline needs no better.
  MonoTime now() const { return now_; }
  absl::Time wall() const { return clock_->Wall(); }
  const Clock& clock() const { return *clock_; }
  TimerWheel& timers() { return timers_; }

  // --- For whoever drives the loop. ---

  // Reads the clock, fires due timers and resumes what is ready then, once. What that makes
  // ready waits for the next turn, so that its driver submits first: a reply leaves before
  // the work that it set off begins, and completions get their turn.
  void RunReady();
  // Turns until nothing is ready: for drivers whose I/O takes no time.
  void RunAllReady();
  bool has_ready() const { return !ready_.empty(); }
  // Until when the driver may sleep. now() if something is ready.
  MonoTime NextWake() const;

 private:
  const Clock* clock_;
  MonoTime now_;
  TimerWheel timers_;
  std::vector<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> running_;
};

// co_await SleepUntil(loop, t).
class SleepUntil final : private Timer {
 public:
  SleepUntil(Loop* loop, MonoTime deadline) : loop_(loop), at_(deadline) {}
  bool await_ready() const { return at_ <= loop_->now(); }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    loop_->timers().Arm(this, at_);
  }
  void await_resume() const {}

 private:
  void Fire() override { loop_->Resume(handle_); }
  Loop* loop_;
  MonoTime at_;
  std::coroutine_handle<> handle_;
};

// A timer that calls a function. For owners that would otherwise write a class.
class CallbackTimer final : public Timer {
 public:
  explicit CallbackTimer(std::function<void()> fire) : fire_(std::move(fire)) {}

 private:
  void Fire() override { fire_(); }
  std::function<void()> fire_;
};

}  // namespace mailrace
