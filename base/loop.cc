#include "base/loop.h"

namespace mailrace {

Loop::Loop(const Clock* clock) : clock_(clock), now_(clock->Mono()), timers_(now_) {}

bool Loop::RunReady(size_t resumes_max) {
  now_ = clock_->Mono();
  timers_.Advance(now_);
  size_t resumed = 0;
  while (!ready_.empty() && resumed < resumes_max) {
    running_.swap(ready_);
    for (std::coroutine_handle<> handle : running_) handle.resume();
    resumed += running_.size();
    running_.clear();
  }
  return !ready_.empty();
}

MonoTime Loop::NextWake() const { return ready_.empty() ? timers_.NextWake() : now_; }

}  // namespace mailrace
