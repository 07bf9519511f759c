// Waiting inside one shard: TaskScope for detached work, Event for conditions,
// OneShot for one result that a callback brings. Not thread-safe.
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/loop.h"
#include "base/task.h"

namespace mailrace {

// Owns tasks that nobody awaits. Shutting down is: cancel what they wait for, then
// `co_await scope.Join()`. REQUIRES: nothing is running when it is destroyed.
class TaskScope {
 public:
  explicit TaskScope(Loop* loop) : loop_(loop) {}
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  // Starts `task` at the loop's next turn.
  void Spawn(Task<void> task);
  size_t running() const { return running_; }

  // Awaits the end of all tasks, those spawned meanwhile too. One waiter at a time.
  Task<void> Join();

 private:
  struct Detached;
  static Detached Run(TaskScope* scope, Task<void> task);
  void Finished();

  Loop* loop_;
  size_t running_ = 0;
  std::coroutine_handle<> joiner_;
};

// A condition that many may await, each with its own deadline. Notify wakes those
// that wait now; nothing is remembered, so check the condition in a loop.
class Event {
 public:
  explicit Event(Loop* loop) : loop_(loop) {}
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  class Waiter final : private Timer {
   public:
    Waiter(Event* event, MonoTime deadline) : event_(event), deadline_(deadline) {}
    ~Waiter() override = default;
    bool await_ready() const { return deadline_ <= event_->loop_->now(); }
    void await_suspend(std::coroutine_handle<> handle);
    // True if notified, false if the deadline passed first.
    bool await_resume() const { return notified_; }

   private:
    friend class Event;
    void Fire() override;
    void Unlink();
    Event* event_;
    MonoTime deadline_;
    std::coroutine_handle<> handle_;
    bool notified_ = false;
    Waiter* previous_ = nullptr;
    Waiter* next_ = nullptr;
  };

  Waiter Wait(MonoTime deadline = MonoTime::Infinite()) { return Waiter(this, deadline); }
  // Wakes the waiter that came last (its caches are warm). False if none waits.
  bool NotifyOne();
  void NotifyAll();
  bool has_waiters() const { return last_ != nullptr; }

 private:
  Loop* loop_;
  Waiter* last_ = nullptr;
};

// One value, set once by a callback on this shard, awaited once. The setter may hold
// a pointer to it: it must outlive Set(), so await it to the end.
template <typename T>
class OneShot {
 public:
  explicit OneShot(Loop* loop) : loop_(loop) {}
  OneShot(const OneShot&) = delete;
  OneShot& operator=(const OneShot&) = delete;

  void Set(T value) {
    value_.emplace(std::move(value));
    if (handle_) loop_->Resume(std::exchange(handle_, {}));
  }
  bool await_ready() const { return value_.has_value(); }
  void await_suspend(std::coroutine_handle<> handle) { handle_ = handle; }
  T await_resume() { return std::move(*value_); }

 private:
  Loop* loop_;
  std::optional<T> value_;
  std::coroutine_handle<> handle_;
};

}  // namespace mailrace
