#include "transport/uring/ending_operation.h"

#include <cerrno>

#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

bool EndingOperation::Begin(MonoTime deadline) {
  ending_ = Ending::kNone;
  if (deadline <= loop_->now()) return false;
  loop_->timers().Arm(this, deadline);
  return true;
}

void EndingOperation::RequestEnd(Ending why) {
  if (!in_flight() || ending()) return;
  ending_ = why;
  ring_->Cancel(this);
}

absl::Status EndingOperation::Finish(int result, bool cut_short) {
  Disarm();
  if (result == -ECANCELED || cut_short) {
    if (ending_ == Ending::kDeadline) return DeadlinePassed();
    return WasCancelled();
  }
  return result < 0 ? SystemError(-result) : absl::OkStatus();
}

absl::Status EndingOperation::DeadlinePassed() {
  return absl::DeadlineExceededError("Connection timed out");
}

absl::Status EndingOperation::WasCancelled() { return absl::CancelledError("cancelled"); }

}  // namespace mailrace::transport::uring
