// co_await ConnectOperation(...): the connect of one socket. Private to this folder.
#pragma once

#include <coroutine>

#include "transport/uring/ending_operation.h"
#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

class ConnectOperation final : public EndingOperation {
 public:
  ConnectOperation(Ring* ring, Loop* loop, int fd, const SystemAddress& remote, MonoTime deadline)
      : EndingOperation(ring, loop), fd_(fd), remote_(remote), deadline_(deadline) {}

  bool await_ready() const { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    if (!Begin(deadline_)) {
      status_ = DeadlinePassed();
      return false;
    }
    ring()->Connect(fd_, remote_.get(), remote_.length, this);
    return true;
  }
  absl::Status await_resume() { return status_; }

 private:
  void Complete(int result, uint32_t) override {
    status_ = Finish(result);
    loop()->Resume(handle_);
  }

  const int fd_;
  SystemAddress remote_;  // The kernel reads it until the completion.
  const MonoTime deadline_;
  std::coroutine_handle<> handle_;
  absl::Status status_;
};

}  // namespace mailrace::transport::uring
