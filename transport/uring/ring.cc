#include "transport/uring/ring.h"

#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "transport/uring/probe.h"
#include "transport/uring/receive_buffers.h"

namespace mailrace::transport::uring {

namespace {

// A broken invariant or an impossible answer of the kernel: there is no safe way on.
[[noreturn]] void Die(const char* what, int error_number) {
  std::fprintf(stderr, "mailrace: io_uring: %s: %s\n", what, std::strerror(error_number));
  std::abort();
}

// The kernel is short of something for the moment: what was prepared stays in the queue.
bool Transient(int result) {
  return result == -EBUSY || result == -EAGAIN || result == -EINTR || result == -ETIME;
}

}  // namespace

Completion::~Completion() {
  if (in_flight_) Die("an operation was destroyed in flight", EBUSY);
}

Ring::Ring() : ring_(std::make_unique<io_uring>()) {}

Ring::~Ring() {
  if (!open_) return;
  if (in_flight_ != 0) Die("the ring was destroyed with operations in flight", EBUSY);
  io_uring_queue_exit(ring_.get());
}

absl::Status Ring::Open(const RingOptions& options) {
  io_uring_params params{};
  params.flags =
      // One thread submits: the kernel takes no lock for the queue.
      IORING_SETUP_SINGLE_ISSUER |
      // Completions are finished when we wait, not by interrupting coroutines.
      IORING_SETUP_DEFER_TASKRUN |
      // One bad entry does not hold up those behind it.
      IORING_SETUP_SUBMIT_ALL |
      // Many connections complete between two turns: room beyond twice the submissions.
      IORING_SETUP_CQSIZE |
      // Bursts beyond the limit of the kernel get what there is.
      IORING_SETUP_CLAMP |
      // Until its restrictions are in place.
      IORING_SETUP_R_DISABLED;
  params.cq_entries = std::max(options.completions, options.submissions);
  const int made = io_uring_queue_init_params(options.submissions, ring_.get(), &params);
  if (made < 0) return UringRefusal("io_uring_setup", -made);
  open_ = true;
  absl::StatusOr<std::unique_ptr<ReceiveBuffers>> buffers =
      ReceiveBuffers::Create(ring_.get(), options.receive_buffers, options.receive_buffer_octets);
  if (!buffers.ok()) return buffers.status();
  buffers_ = *std::move(buffers);
  return Restrict();
}

// Seccomp filters do not see what a ring does. So it may do nothing but what this file
// asks for, whoever gets hold of the process.
absl::Status Ring::Restrict() {
  std::array<io_uring_restriction, 10> rules{};
  size_t count = 0;
  for (const int op : {IORING_OP_RECV, IORING_OP_SEND, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                       IORING_OP_READ, IORING_OP_ASYNC_CANCEL}) {
    rules[count].opcode = IORING_RESTRICTION_SQE_OP;
    rules[count++].sqe_op = static_cast<uint8_t>(op);
  }
  rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  rules[count++].sqe_flags = IOSQE_BUFFER_SELECT;
  // liburing 2.3 declares functions for these two but does not export them.
  const auto fd = static_cast<unsigned>(ring_->ring_fd);
  const int restricted = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, rules.data(),
                                           static_cast<unsigned>(count));
  if (restricted < 0) return UringRefusal("register_restrictions", -restricted);
  const int enabled = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  return enabled < 0 ? UringRefusal("enable_rings", -enabled) : absl::OkStatus();
}

io_uring_sqe* Ring::NextSubmission() {
  while (true) {
    if (io_uring_sqe* entry = io_uring_get_sqe(ring_.get()); entry != nullptr) return entry;
    counters_.submission_queue_full.Add();
    const int result = io_uring_submit(ring_.get());
    if (result >= 0) continue;
    if (!Transient(result)) Die("submit", -result);
    // The kernel may want completions to be taken first. They wait in reaped_: the
    // caller is in the middle of something and must not be called back.
    io_uring_get_events(ring_.get());
    Reap();
  }
}

void Ring::Track(io_uring_sqe* entry, Completion* completion) {
  io_uring_sqe_set_data(entry, completion);
  ++in_flight_;
  if (completion == nullptr) return;
  if (completion->in_flight_) Die("an operation was submitted twice", EBUSY);
  completion->in_flight_ = true;
}

void Ring::Receive(int fd, bool expect_wait, Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  io_uring_prep_recv(entry, fd, nullptr, 0, 0);  // Length 0: that of the picked buffer.
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = ReceiveBuffers::kGroup;
  if (expect_wait) entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
  Track(entry, completion);
}

void Ring::Send(int fd, std::string_view octets, Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  // MSG_WAITALL lets the kernel go on after a short send without asking us.
  io_uring_prep_send(entry, fd, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_WAITALL);
  Track(entry, completion);
}

void Ring::Accept(int fd, sockaddr* remote, socklen_t* length, Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  io_uring_prep_accept(entry, fd, remote, length, SOCK_CLOEXEC);
  Track(entry, completion);
}

void Ring::Connect(int fd, const sockaddr* remote, socklen_t length, Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  io_uring_prep_connect(entry, fd, remote, length);
  Track(entry, completion);
}

void Ring::Read(int fd, void* into, unsigned octets, Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  io_uring_prep_read(entry, fd, into, octets, 0);
  Track(entry, completion);
}

void Ring::Cancel(Completion* completion) {
  io_uring_sqe* entry = NextSubmission();
  io_uring_prep_cancel(entry, completion, 0);
  Track(entry, nullptr);  // Its own result tells nothing that the operation's does not.
}

std::string_view Ring::Received(int result, uint32_t flags) const {
  if ((flags & IORING_CQE_F_BUFFER) == 0) return {};
  return buffers_->View(static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT),
                        static_cast<size_t>(std::max(result, 0)));
}

void Ring::Recycle(uint32_t flags) {
  if ((flags & IORING_CQE_F_BUFFER) == 0) return;
  buffers_->Recycle(static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT));
}

bool Ring::MoreWaiting(uint32_t flags) { return (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0; }

void Ring::SubmitAndWait(absl::Duration wait) {
  counters_.turns.Add();
  int result;
  if (!reaped_.empty() || wait <= absl::ZeroDuration()) {
    result = io_uring_submit_and_get_events(ring_.get());
  } else if (wait == absl::InfiniteDuration()) {
    result = io_uring_submit_and_wait(ring_.get(), 1);
  } else {
    const timespec limit = absl::ToTimespec(wait);
    __kernel_timespec timeout{limit.tv_sec, limit.tv_nsec};
    io_uring_cqe* first;
    result = io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &timeout, nullptr);
  }
  if (result < 0 && !Transient(result)) Die("submit and wait", -result);
}

void Ring::Reap() {
  if (io_uring_cq_has_overflow(ring_.get())) counters_.completion_queue_overflow.Add();
  unsigned head;
  unsigned count = 0;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(ring_.get(), head, cqe) {
    reaped_.push_back({static_cast<Completion*>(io_uring_cqe_get_data(cqe)), cqe->res, cqe->flags});
    ++count;
  }
  io_uring_cq_advance(ring_.get(), count);
}

void Ring::Dispatch() {
  Reap();
  dispatching_.swap(reaped_);
  for (const Reaped& reaped : dispatching_) {
    --in_flight_;
    if (reaped.completion == nullptr) continue;
    if (!reaped.completion->in_flight_) Die("an operation completed twice", EINVAL);
    reaped.completion->in_flight_ = false;
    if (reaped.result == -ENOBUFS) counters_.receive_buffers_exhausted.Add();
    reaped.completion->Complete(reaped.result, reaped.flags);
  }
  dispatching_.clear();
}

}  // namespace mailrace::transport::uring
