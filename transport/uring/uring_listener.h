// A listening socket on a ring.
#pragma once

#include <coroutine>
#include <string>

#include "transport/connection.h"
#include "transport/uring/ending_operation.h"
#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

// Accepts one peer at a time: those that nobody asked for yet stay in the kernel's
// backlog, which has a limit, and not in a list of ours.
class UringListener final : public Listener {
 public:
  // `unix_path` is removed at the end; empty for IP.
  UringListener(Ring* ring, Loop* loop, Descriptor socket, std::string unix_path);
  ~UringListener() override;

  Task<absl::StatusOr<AcceptedPeer>> Accept() override;
  void Cancel() override;
  SocketAddress local() const override { return local_; }

 private:
  // Awaited once for each peer.
  class Accepting final : public EndingOperation {
   public:
    Accepting(Ring* ring, Loop* loop, int fd) : EndingOperation(ring, loop), fd_(fd) {}
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle);
    // The accepted descriptor or a negative errno.
    int await_resume() const { return result_; }
    SocketAddress remote() const { return FromSystem(remote_); }

   private:
    void Complete(int result, uint32_t flags) override;
    const int fd_;
    SystemAddress remote_;
    std::coroutine_handle<> handle_;
    int result_ = 0;
  };

  Descriptor socket_;
  const std::string unix_path_;
  const SocketAddress local_;
  bool cancelled_ = false;
  Accepting accepting_;
};

}  // namespace mailrace::transport::uring
