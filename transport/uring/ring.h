// One io_uring: operations go in, completions come out. Lives on one thread, the one
// that called Open(): the kernel refuses all others (IORING_SETUP_SINGLE_ISSUER).
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/metrics.h"
#include "transport/uring/completion.h"

struct io_uring;
struct io_uring_sqe;

namespace mailrace::transport::uring {

class ReceiveBuffers;

struct RingOptions {
  // Operations that one turn may submit without an additional system call. 1 to 32768.
  unsigned submissions = 512;
  // Completions that may wait to be reaped; more of them cost time, never a loss.
  // At least `submissions`.
  unsigned completions = 4096;
  // Memory that the kernel receives into, shared by all connections: an idle one pins
  // none. A power of two, at most 32768.
  unsigned receive_buffers = 64;
  unsigned receive_buffer_octets = 16 * 1024;
};

// Bumped by the shard, read by any thread.
struct RingCounters {
  Counter turns;                      // System calls that submitted and waited.
  Counter submission_queue_full;      // A turn had more to submit than fits.
  Counter completion_queue_overflow;  // The kernel had to keep completions aside.
  Counter receive_buffers_exhausted;  // A receive had to be tried again.
};

class Ring {
 public:
  Ring();
  // REQUIRES: nothing is in flight.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Makes the ring, on the thread that will use it. The error is one line with advice
  // (see probe.h).
  absl::Status Open(const RingOptions& options);

  // --- Operations. Each ends in exactly one Complete(). REQUIRES: Open() succeeded and
  // `completion` is not in flight; memory passed in stays valid until then. ---

  // Into a provided buffer: on success take it by Received() and give it back by
  // Recycle() before returning from Complete(). `expect_wait` spares an attempt that
  // would find nothing.
  void Receive(int fd, bool expect_wait, Completion* completion);
  // All of it unless an error intervenes; the result may still be less.
  void Send(int fd, std::string_view octets, Completion* completion);
  void Accept(int fd, sockaddr* remote, socklen_t* length, Completion* completion);
  void Connect(int fd, const sockaddr* remote, socklen_t length, Completion* completion);
  void Read(int fd, void* into, unsigned octets, Completion* completion);

  // Asks for the end of an operation. It completes all the same, with -ECANCELED or with
  // what it achieved first.
  void Cancel(Completion* completion);

  std::string_view Received(int result, uint32_t flags) const;
  void Recycle(uint32_t flags);
  // More octets were waiting when the receive ended.
  static bool MoreWaiting(uint32_t flags);

  // --- For the shard's loop. ---

  // Submits what was prepared and waits for a completion, at most `wait` (infinite: as
  // long as it takes; zero: not at all), in one system call.
  void SubmitAndWait(absl::Duration wait);
  // Takes all completions and tells whom they belong to.
  void Dispatch();

  // Submitted or prepared, and not dispatched; cancel requests count too.
  size_t in_flight() const { return in_flight_; }
  const RingCounters& counters() const { return counters_; }

 private:
  struct Reaped {
    Completion* completion;
    int result;
    uint32_t flags;
  };

  absl::Status Restrict();
  io_uring_sqe* NextSubmission();
  // Marks it in flight; call when the entry is filled in.
  void Track(io_uring_sqe* entry, Completion* completion);
  // Moves completions from the shared queue to reaped_, which makes room for more.
  void Reap();

  std::unique_ptr<io_uring> ring_;
  bool open_ = false;
  std::unique_ptr<ReceiveBuffers> buffers_;
  std::vector<Reaped> reaped_;  // At most in_flight_ entries.
  std::vector<Reaped> dispatching_;
  size_t in_flight_ = 0;
  RingCounters counters_;
};

}  // namespace mailrace::transport::uring
