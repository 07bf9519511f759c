#include "base/sync.h"

#include <cstdio>
#include <cstdlib>

namespace mailrace {

// The outermost frame of a detached task: frees itself at its end.
struct TaskScope::Detached {
  struct promise_type {
    Detached get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
    static void* operator new(size_t octets) { return FramePool::Allocate(octets); }
    static void operator delete(void* frame, size_t octets) { FramePool::Free(frame, octets); }
  };
  std::coroutine_handle<promise_type> handle;
};

TaskScope::Detached TaskScope::Run(TaskScope* scope, Task<void> task) {
  {
    // Destroyed before the scope hears of the end: a joiner may free what it used.
    Task<void> owned = std::move(task);
    co_await std::move(owned);
  }
  scope->Finished();
}

TaskScope::~TaskScope() {
  if (running_ != 0) {
    std::fprintf(stderr, "mailrace: TaskScope destroyed with %zu tasks running\n", running_);
    std::abort();
  }
}

void TaskScope::Spawn(Task<void> task) {
  ++running_;
  loop_->Resume(Run(this, std::move(task)).handle);
}

Task<void> TaskScope::Join() {
  struct Awaiter {
    TaskScope* scope;
    bool await_ready() const { return scope->running_ == 0; }
    void await_suspend(std::coroutine_handle<> handle) { scope->joiner_ = handle; }
    void await_resume() const {}
  };
  // Again, because a task may be spawned between the end of the last one and our turn.
  while (running_ != 0) co_await Awaiter{this};
}

void TaskScope::Finished() {
  if (--running_ == 0 && joiner_) loop_->Resume(std::exchange(joiner_, {}));
}

Event::~Event() {
  if (last_ != nullptr) {
    std::fprintf(stderr, "mailrace: Event destroyed while awaited\n");
    std::abort();
  }
}

void Event::Waiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  previous_ = event_->last_;
  if (previous_ != nullptr) previous_->next_ = this;
  event_->last_ = this;
  event_->loop_->timers().Arm(this, deadline_);
}

void Event::Waiter::Unlink() {
  if (next_ != nullptr) {
    next_->previous_ = previous_;
  } else {
    event_->last_ = previous_;
  }
  if (previous_ != nullptr) previous_->next_ = next_;
  previous_ = next_ = nullptr;
}

void Event::Waiter::Fire() {
  Unlink();
  event_->loop_->Resume(handle_);
}

bool Event::NotifyOne() {
  Waiter* waiter = last_;
  if (waiter == nullptr) return false;
  waiter->Unlink();
  waiter->Disarm();
  waiter->notified_ = true;
  loop_->Resume(waiter->handle_);
  return true;
}

void Event::NotifyAll() {
  while (NotifyOne()) {
  }
}

}  // namespace mailrace
