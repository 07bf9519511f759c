#include "transport/uring/waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "transport/uring/probe.h"

namespace mailrace::transport::uring {

Waker::Waker() : event_(eventfd(0, EFD_CLOEXEC)) {}

Waker::~Waker() = default;

void Waker::Wake() {
  const uint64_t one = 1;
  // Cannot fill up: it would take 2^64 rings between two turns.
  while (write(event_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

absl::Status Waker::Start(Ring* ring, std::function<void()> on_wake) {
  if (event_.get() < 0) return UringRefusal("eventfd", EMFILE);
  ring_ = ring;
  on_wake_ = std::move(on_wake);
  Listen();
  return absl::OkStatus();
}

void Waker::Listen() { ring_->Read(event_.get(), &rings_, sizeof rings_, this); }

void Waker::Stop() {
  stopping_ = true;
  if (in_flight()) ring_->Cancel(this);
}

void Waker::Complete(int result, uint32_t) {
  if (stopping_) return;
  // Listening again first: whatever is posted during the callback rings anew.
  Listen();
  if (result > 0 && on_wake_) on_wake_();
}

}  // namespace mailrace::transport::uring
