#include "transport/uring/uring_shard.h"

#include <algorithm>

namespace mailrace::transport::uring {

UringShard::UringShard(const Clock* clock, const UringShardOptions& options)
    : clock_(clock), options_(options), loop_(clock), network_(&ring_, &loop_, options.sockets) {}

UringShard::~UringShard() {
  waker_.Stop();
  // What is left are the bell and requests to cancel what has ended already; both end
  // at once. An operation that somebody forgot ends the process in its own destructor
  // or holds us here, where a debugger shows it.
  while (ring_.in_flight() > 0) {
    ring_.SubmitAndWait(absl::InfiniteDuration());
    ring_.Dispatch();
  }
}

absl::Status UringShard::Open() {
  const absl::Status opened = ring_.Open(options_.ring);
  if (!opened.ok()) return opened;
  return waker_.Start(&ring_, on_wake_);
}

size_t UringShard::in_flight() const { return ring_.in_flight() - (waker_.in_flight() ? 1 : 0); }

void UringShard::Run(const std::function<bool()>& stop) {
  while (!stop()) RunOnce();
}

void UringShard::RunOnce(absl::Duration max_wait) {
  absl::Duration wait = absl::ZeroDuration();
  if (!loop_.has_ready()) wait = std::min(max_wait, loop_.NextWake() - clock_->Mono());
  ring_.SubmitAndWait(wait);
  ring_.Dispatch();
  loop_.RunReady();
}

}  // namespace mailrace::transport::uring
