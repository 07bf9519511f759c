#include "transport/uring/uring_connection.h"

#include <cerrno>
#include <utility>

namespace mailrace::transport::uring {

UringConnection::UringConnection(Ring* ring, Loop* loop, Descriptor socket, SocketAddress local,
                                 SocketAddress remote)
    : socket_(std::move(socket)),
      local_(local),
      remote_(remote),
      reading_(ring, loop, socket_.get()),
      writing_(ring, loop, socket_.get()) {}

// The operations go first and end the process if they are in flight: closing a
// descriptor does not end an operation, and its number would be used again.
UringConnection::~UringConnection() = default;

void UringConnection::Cancel() {
  cancelled_ = true;
  reading_.RequestCancel();
  writing_.RequestCancel();
}

void UringConnection::CancelRead() { reading_.RequestCancel(); }

void UringConnection::StartRead(IoOperation* operation) { reading_.Start(operation, cancelled_); }

void UringConnection::StartWrite(IoOperation* operation) { writing_.Start(operation, cancelled_); }

void UringConnection::Reading::Start(IoOperation* operation, bool cancelled) {
  if (cancelled || !Begin(operation->deadline)) {
    operation->status = cancelled ? WasCancelled() : DeadlinePassed();
    loop()->Resume(operation->handle);
    return;
  }
  operation_ = operation;
  Submit();
}

void UringConnection::Reading::Submit() { ring()->Receive(fd_, expect_wait_, this); }

void UringConnection::Reading::Complete(int result, uint32_t flags) {
  const bool again = result == -ENOBUFS || result == -EINTR || result == -EAGAIN;
  if (again && !ending()) return Submit();
  expect_wait_ = result > 0 && !Ring::MoreWaiting(flags);
  // Octets that came before a cancel are the caller's all the same: they have left the
  // socket.
  if (result > 0) operation_->into->Append(ring()->Received(result, flags));
  ring()->Recycle(flags);
  operation_->octets = result > 0 ? static_cast<size_t>(result) : 0;
  operation_->status = Finish(result, again);
  loop()->Resume(std::exchange(operation_, nullptr)->handle);
}

void UringConnection::Writing::Start(IoOperation* operation, bool cancelled) {
  if (cancelled || !Begin(operation->deadline)) {
    operation->status = cancelled ? WasCancelled() : DeadlinePassed();
    loop()->Resume(operation->handle);
    return;
  }
  operation_ = operation;
  Submit();
}

void UringConnection::Writing::Submit() {
  ring()->Send(fd_, operation_->from.substr(operation_->octets), this);
}

void UringConnection::Writing::Complete(int result, uint32_t) {
  if (result > 0) operation_->octets += static_cast<size_t>(result);
  const bool again = result >= 0 || result == -EINTR || result == -EAGAIN;
  const bool unfinished = again && operation_->octets < operation_->from.size();
  if (unfinished && !ending()) return Submit();
  operation_->status = Finish(result, unfinished);
  loop()->Resume(std::exchange(operation_, nullptr)->handle);
}

}  // namespace mailrace::transport::uring
