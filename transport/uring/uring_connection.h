// One stream socket on a ring.
#pragma once

#include "base/loop.h"
#include "transport/connection.h"
#include "transport/uring/ending_operation.h"
#include "transport/uring/ring.h"
#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

class UringConnection final : public Connection {
 public:
  // `ring` and `loop` are borrowed and outlive the connection.
  UringConnection(Ring* ring, Loop* loop, Descriptor socket, SocketAddress local,
                  SocketAddress remote);
  ~UringConnection() override;

  void Cancel() override;
  void CancelRead() override;
  SocketAddress local() const override { return local_; }
  SocketAddress remote() const override { return remote_; }

 protected:
  void StartRead(IoOperation* operation) override;
  void StartWrite(IoOperation* operation) override;

 private:
  class Reading final : public EndingOperation {
   public:
    Reading(Ring* ring, Loop* loop, int fd) : EndingOperation(ring, loop), fd_(fd) {}
    void Start(IoOperation* operation, bool cancelled);

   private:
    void Submit();
    void Complete(int result, uint32_t flags) override;
    const int fd_;
    IoOperation* operation_ = nullptr;
    // The last receive emptied the socket, so the next will most likely have to wait.
    bool expect_wait_ = false;
  };

  class Writing final : public EndingOperation {
   public:
    Writing(Ring* ring, Loop* loop, int fd) : EndingOperation(ring, loop), fd_(fd) {}
    void Start(IoOperation* operation, bool cancelled);

   private:
    void Submit();
    void Complete(int result, uint32_t flags) override;
    const int fd_;
    IoOperation* operation_ = nullptr;
  };

  Descriptor socket_;
  const SocketAddress local_;
  const SocketAddress remote_;
  bool cancelled_ = false;
  Reading reading_;
  Writing writing_;
};

}  // namespace mailrace::transport::uring
