// An operation of the kernel with a deadline, which can be cancelled: what the timer
// and Cancel() have in common. Neither ends it by itself; both ask the kernel and wait
// for the completion, because the kernel uses the operation's memory until then.
#pragma once

#include "absl/status/status.h"
#include "base/loop.h"
#include "base/timer_wheel.h"
#include "transport/uring/ring.h"

namespace mailrace::transport::uring {

class EndingOperation : public Completion, private Timer {
 public:
  // Asks for the end, status Cancelled. Idempotent; nothing if not in flight.
  void RequestCancel() { RequestEnd(Ending::kCancelled); }

 protected:
  EndingOperation(Ring* ring, Loop* loop) : ring_(ring), loop_(loop) {}
  ~EndingOperation() override = default;

  // Forgets a previous ending. False if the deadline has passed: do not submit.
  bool Begin(MonoTime deadline);
  // The end was asked for: do not submit again.
  bool ending() const { return ending_ != Ending::kNone; }
  // Call when the operation is over. OK unless `result` is a negative errno; where the
  // kernel says ECANCELED (or `cut_short`: it ended early), why.
  absl::Status Finish(int result, bool cut_short = false);
  static absl::Status DeadlinePassed();
  static absl::Status WasCancelled();

  Ring* ring() const { return ring_; }
  Loop* loop() const { return loop_; }

 private:
  enum class Ending { kNone, kDeadline, kCancelled };
  void Fire() override { RequestEnd(Ending::kDeadline); }
  void RequestEnd(Ending why);

  Ring* ring_;
  Loop* loop_;
  Ending ending_ = Ending::kNone;
};

}  // namespace mailrace::transport::uring
