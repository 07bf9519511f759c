#include "base/timer_wheel.h"

#include <bit>

namespace mailrace {

Timer::~Timer() { Disarm(); }

void Timer::Disarm() {
  if (wheel_ != nullptr) wheel_->Unlink(this);
}

TimerWheel::TimerWheel(MonoTime now) : tick_(now.nanos / kTickNanos) {}

TimerWheel::~TimerWheel() {
  for (auto& level : slots_) {
    for (Timer* head : level) {
      for (; head != nullptr; head = head->next_) head->wheel_ = nullptr;
    }
  }
}

void TimerWheel::Arm(Timer* timer, MonoTime deadline) {
  timer->Disarm();
  if (deadline.infinite()) return;
  timer->deadline_ = deadline;
  timer->wheel_ = this;
  ++armed_;
  Link(timer);
}

void TimerWheel::Link(Timer* timer) {
  // Rounded up, so that no timer fires early; at least the next tick.
  const int64_t nanos = timer->deadline_.nanos;
  int64_t due = nanos / kTickNanos + (nanos % kTickNanos > 0 ? 1 : 0);
  if (due <= tick_) due = tick_ + 1;
  // The level is the highest base-64 digit in which `due` differs from now: the
  // timer moves down each time that digit comes round.
  const uint64_t differs = static_cast<uint64_t>(due) ^ static_cast<uint64_t>(tick_);
  int level = (63 - std::countl_zero(differs)) / kBits;
  int slot;
  if (level >= kLevels) {
    level = kLevels - 1;
    // Beyond the wheel: park in slot 0 of the top level, which only a whole turn
    // reaches; the timer is linked anew then.
    slot = 0;
  } else {
    slot = static_cast<int>((due >> (kBits * level)) & (kSlots - 1));
  }
  timer->slot_ = static_cast<uint16_t>(level * kSlots + slot);
  Timer*& head = slots_[level][slot];
  timer->next_ = head;
  timer->link_ = &head;
  if (head != nullptr) head->link_ = &timer->next_;
  head = timer;
  occupied_[level] |= uint64_t{1} << slot;
}

void TimerWheel::Unlink(Timer* timer) {
  *timer->link_ = timer->next_;
  if (timer->next_ != nullptr) timer->next_->link_ = timer->link_;
  const int level = timer->slot_ / kSlots;
  const int slot = timer->slot_ % kSlots;
  if (slots_[level][slot] == nullptr) occupied_[level] &= ~(uint64_t{1} << slot);
  timer->wheel_ = nullptr;
  timer->next_ = nullptr;
  timer->link_ = nullptr;
  --armed_;
}

void TimerWheel::FireSlot(int level, int slot) {
  // Moved to a local list first: Fire() may arm timers into this very slot.
  Timer* list = slots_[level][slot];
  if (list == nullptr) return;
  slots_[level][slot] = nullptr;
  occupied_[level] &= ~(uint64_t{1} << slot);
  list->link_ = &list;
  while (list != nullptr) {
    Timer* timer = list;
    Unlink(timer);
    if (timer->deadline_.nanos <= tick_ * kTickNanos) {
      timer->Fire();
    } else {
      timer->wheel_ = this;
      ++armed_;
      Link(timer);
    }
  }
}

void TimerWheel::Advance(MonoTime now) {
  const int64_t target = now.nanos / kTickNanos;
  while (tick_ < target) {
    if (armed_ == 0) {
      tick_ = target;
      return;
    }
    // Jump straight to the next tick at which any slot is due.
    const MonoTime wake = NextWake();
    const int64_t next = wake.nanos / kTickNanos;
    if (next > target) {
      // No occupied slot lies in (tick_, target], so no digit above changes meaning
      // for an armed timer before it is moved down at its own slot.
      tick_ = target;
      return;
    }
    tick_ = next > tick_ ? next : tick_ + 1;
    // Higher levels first: their timers move down into slots due at this tick.
    for (int level = kLevels - 1; level > 0; --level) {
      const int64_t below = (int64_t{1} << (kBits * level)) - 1;
      if ((tick_ & below) == 0) {
        FireSlot(level, static_cast<int>((tick_ >> (kBits * level)) & (kSlots - 1)));
      }
    }
    FireSlot(0, static_cast<int>(tick_ & (kSlots - 1)));
  }
}

MonoTime TimerWheel::NextWake() const {
  if (armed_ == 0) return MonoTime::Infinite();
  int64_t best = INT64_MAX;
  for (int level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const int64_t hand = tick_ >> (kBits * level);
    const int at = static_cast<int>(hand & (kSlots - 1));
    // Distance, in slots of this level, to the first occupied slot after the hand.
    const uint64_t ahead = std::rotr(occupied_[level], (at + 1) & (kSlots - 1));
    const int64_t distance = std::countr_zero(ahead) + 1;
    const int64_t due = (hand + distance) << (kBits * level);
    if (due < best) best = due;
  }
  // From within Fire(): those that are left are about to fire as well.
  if (best == INT64_MAX) return {tick_ * kTickNanos};
  return {best * kTickNanos};
}

}  // namespace mailrace
