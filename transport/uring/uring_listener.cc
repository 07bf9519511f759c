#include "transport/uring/uring_listener.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace mailrace::transport::uring {

UringListener::UringListener(Ring* ring, Loop* loop, Descriptor socket, std::string unix_path)
    : socket_(std::move(socket)),
      unix_path_(std::move(unix_path)),
      local_(LocalAddress(socket_.get())),
      accepting_(ring, loop, socket_.get()) {}

UringListener::~UringListener() {
  if (!unix_path_.empty()) unlink(unix_path_.c_str());
}

void UringListener::Cancel() {
  cancelled_ = true;
  accepting_.RequestCancel();
}

void UringListener::Accepting::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  Begin(MonoTime::Infinite());
  remote_ = SystemAddress();
  ring()->Accept(fd_, remote_.get(), &remote_.length, this);
}

void UringListener::Accepting::Complete(int result, uint32_t) {
  result_ = result;
  loop()->Resume(handle_);
}

Task<absl::StatusOr<AcceptedPeer>> UringListener::Accept() {
  while (true) {
    if (cancelled_) co_return absl::CancelledError("cancelled");
    const int result = co_await accepting_;
    if (result >= 0) {
      AcceptedPeer peer;
      peer.handle = result;
      // A listener on a wildcard address has to be asked where the peer came in.
      peer.local = LocalAddress(result);
      peer.remote = accepting_.remote();
      co_return peer;
    }
    if (IsResourceError(-result)) co_return SystemError(-result);
    switch (-result) {
      case EBADF:
      case EINVAL:
      case ENOTSOCK:
      case EFAULT:
        co_return SystemError(-result);  // It will never accept again.
      default:
        break;  // Trouble of that one peer (accept(2), "Error handling"): on to the next.
    }
  }
}

}  // namespace mailrace::transport::uring
