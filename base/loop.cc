#include "base/loop.h"

namespace mailrace {

Loop::Loop(const Clock* clock) : clock_(clock), now_(clock->Mono()), timers_(now_) {}

void Loop::RunReady() {
  now_ = clock_->Mono();
  timers_.Advance(now_);
  running_.swap(ready_);
  for (std::coroutine_handle<> handle : running_) handle.resume();
  running_.clear();
}

void Loop::RunAllReady() {
  do RunReady();
  while (has_ready());
}

MonoTime Loop::NextWake() const { return ready_.empty() ? timers_.NextWake() : now_; }

}  // namespace mailrace
