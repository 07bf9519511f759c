// A reliable octet stream to one peer, and the ways to get one. The io_uring network
// (transport/uring) and the simulated one (tests/sim) implement this; everything else
// in transport/ is written against it.
//
// Lives on the shard that made it. At most one read and one write are in flight.
#pragma once

#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/socket_address.h"
#include "base/task.h"

namespace mailrace::transport {

// One operation in flight. Lives in the awaiting frame; the implementation may hold a
// pointer to it until it resumes `handle` through the loop.
//
// Statuses: OK; DeadlineExceeded (the connection stays usable); Cancelled (after
// Cancel() or CancelRead()); Unavailable with the system's words ("Connection reset by peer").
struct IoOperation {
  std::coroutine_handle<> handle;
  MonoTime deadline = MonoTime::Infinite();
  absl::Status status;
  size_t octets = 0;       // Result: read or written.
  Buffer* into = nullptr;  // Reads: appended to. Borrowed until resumption.
  std::string_view from;   // Writes: all of it is written. Borrowed until resumption.
};

class Connection {
 public:
  // Closes. REQUIRES: nothing is in flight.
  virtual ~Connection() = default;

  class ReadAwaiter {
   public:
    ReadAwaiter(Connection* connection, Buffer* into, MonoTime deadline) : connection_(connection) {
      operation_.into = into;
      operation_.deadline = deadline;
    }
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      operation_.handle = handle;
      connection_->StartRead(&operation_);
    }
    absl::StatusOr<size_t> await_resume() {
      if (!operation_.status.ok()) return operation_.status;
      return operation_.octets;
    }

   private:
    Connection* connection_;
    IoOperation operation_;
  };

  class WriteAwaiter {
   public:
    WriteAwaiter(Connection* connection, std::string_view from, MonoTime deadline)
        : connection_(connection) {
      operation_.from = from;
      operation_.deadline = deadline;
    }
    bool await_ready() const { return operation_.from.empty(); }
    void await_suspend(std::coroutine_handle<> handle) {
      operation_.handle = handle;
      connection_->StartWrite(&operation_);
    }
    absl::Status await_resume() { return operation_.status; }

   private:
    Connection* connection_;
    IoOperation operation_;
  };

  // Appends what has come, at least one octet, to *into. 0 means that the peer closed.
  // `into` is borrowed until the result.
  ReadAwaiter Read(Buffer* into, MonoTime deadline) { return {this, into, deadline}; }
  // Writes all octets. They are borrowed until the result.
  WriteAwaiter Write(std::string_view octets, MonoTime deadline) {
    return {this, octets, deadline};
  }

  // What is in flight ends with Cancelled, and so does everything later. Idempotent.
  virtual void Cancel() = 0;
  // The read in flight, if any, ends with Cancelled (or with what came first); a write
  // in flight and everything later go on as before, and no octet is lost. What an idle
  // session in the pool is woken with. Harmless when no read is in flight.
  virtual void CancelRead() = 0;

  virtual SocketAddress local() const = 0;
  virtual SocketAddress remote() const = 0;

 protected:
  // Starts the operation; resumes its handle through the loop, never inside the call.
  virtual void StartRead(IoOperation* operation) = 0;
  virtual void StartWrite(IoOperation* operation) = 0;
};

// An accepted peer that no shard has adopted yet: may be sent to another shard. Who
// drops one without adopting it calls Network::Discard.
struct AcceptedPeer {
  int handle = -1;
  SocketAddress local;
  SocketAddress remote;
};

class Listener {
 public:
  // Stops listening. REQUIRES: no Accept is in flight.
  virtual ~Listener() = default;
  // ResourceExhausted when descriptors ran out (the caller pauses); Cancelled after
  // Cancel().
  virtual Task<absl::StatusOr<AcceptedPeer>> Accept() = 0;
  virtual void Cancel() = 0;
  virtual SocketAddress local() const = 0;  // With the port that the system chose.
};

// One a shard.
class Network {
 public:
  virtual ~Network() = default;
  // `local` binds the source address (smtp_bind_address). FailedPrecondition: it cannot be
  // bound.
  virtual Task<absl::StatusOr<std::unique_ptr<Connection>>> Connect(SocketAddress remote,
                                                                    std::optional<IpAddress> local,
                                                                    MonoTime deadline) = 0;
  virtual absl::StatusOr<std::unique_ptr<Listener>> Listen(SocketAddress address) = 0;
  // Each Connect in flight ends with Cancelled; for shutting down. Later ones are
  // not affected.
  virtual void CancelConnects() {}
  virtual std::unique_ptr<Connection> Adopt(AcceptedPeer peer) = 0;
  virtual void Discard(AcceptedPeer peer) = 0;
};

}  // namespace mailrace::transport
