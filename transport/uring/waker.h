// The bell of a shard: other threads ring it when they put something into its inbox.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "transport/uring/ring.h"
#include "transport/uring/socket.h"

namespace mailrace::transport::uring {

class Waker final : private Completion {
 public:
  Waker();
  ~Waker() override;

  // Any thread, at any time in the waker's life, before Start() too. The shard wakes up
  // and calls its callback at least once after each Wake(); rings in between may be
  // heard as one. A system call: ring only when the inbox was empty.
  void Wake();

  // --- On the shard. ---

  // `on_wake` runs on the shard after a Wake().
  absl::Status Start(Ring* ring, std::function<void()> on_wake);
  // Ends listening; go on with the ring until in_flight() is false.
  void Stop();
  using Completion::in_flight;

 private:
  void Listen();
  void Complete(int result, uint32_t flags) override;

  Descriptor event_;
  uint64_t rings_ = 0;  // The kernel writes here.
  Ring* ring_ = nullptr;
  std::function<void()> on_wake_;
  bool stopping_ = false;
};

}  // namespace mailrace::transport::uring
