// What connections without sockets have in common: a read and a write in flight, their
// deadlines and their cancellation. How octets travel is the subclass's business.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/loop.h"
#include "transport/connection.h"

namespace mailrace::transport::fakes {

class FakeConnection : public Connection {
 public:
  FakeConnection(Loop* loop, SocketAddress local, SocketAddress remote)
      : loop_(loop),
        local_(local),
        remote_(remote),
        read_timer_([this] { FinishRead(absl::DeadlineExceededError("read timed out")); }),
        write_timer_([this] { FinishWrite(absl::DeadlineExceededError("write timed out")); }) {}

  void Cancel() final {
    cancelled_ = true;
    CancelRead();
    if (write_ != nullptr) FinishWrite(absl::CancelledError("cancelled"));
  }
  void CancelRead() final {
    if (read_ != nullptr) FinishRead(absl::CancelledError("cancelled"));
  }
  SocketAddress local() const final { return local_; }
  SocketAddress remote() const final { return remote_; }

  // Ends what can end.
  void Progress() {
    ProgressRead();
    ProgressWrite();
  }

 protected:
  // Finishes the operation in flight, if there is one and it can end.
  virtual void ProgressRead() = 0;
  virtual void ProgressWrite() = 0;
  // A write begins: once for each, before ProgressWrite().
  virtual void Begin(std::string_view) {}

  IoOperation* read() const { return read_; }
  IoOperation* write() const { return write_; }
  Loop* loop() const { return loop_; }
  // REQUIRES: it is in flight.
  void FinishRead(absl::Status status) { Finish(&read_, &read_timer_, std::move(status)); }
  void FinishWrite(absl::Status status) { Finish(&write_, &write_timer_, std::move(status)); }

  void StartRead(IoOperation* operation) final {
    read_ = operation;
    if (cancelled_) return FinishRead(absl::CancelledError("cancelled"));
    if (operation->deadline <= loop_->now()) {
      return FinishRead(absl::DeadlineExceededError("read timed out"));
    }
    loop_->timers().Arm(&read_timer_, operation->deadline);
    ProgressRead();
  }
  void StartWrite(IoOperation* operation) final {
    write_ = operation;
    if (cancelled_) return FinishWrite(absl::CancelledError("cancelled"));
    if (operation->deadline <= loop_->now()) {
      return FinishWrite(absl::DeadlineExceededError("write timed out"));
    }
    loop_->timers().Arm(&write_timer_, operation->deadline);
    Begin(operation->from);
    ProgressWrite();
  }

 private:
  void Finish(IoOperation** slot, CallbackTimer* timer, absl::Status status) {
    IoOperation* operation = std::exchange(*slot, nullptr);
    timer->Disarm();
    operation->status = std::move(status);
    loop_->Resume(operation->handle);
  }

  Loop* const loop_;
  const SocketAddress local_;
  const SocketAddress remote_;
  CallbackTimer read_timer_;
  CallbackTimer write_timer_;
  IoOperation* read_ = nullptr;
  IoOperation* write_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace mailrace::transport::fakes
