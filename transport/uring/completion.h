// What the kernel reports the end of an operation to. The kernel holds its address
// from the submission to the completion, so it may not move or die in between.
#pragma once

#include <cstdint>

namespace mailrace::transport::uring {

class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Submitted and not reported yet.
  bool in_flight() const { return in_flight_; }

 protected:
  // Ends the process if the kernel still holds this address: going on would let it
  // write into freed memory.
  virtual ~Completion();
  // `result` as of the system call, negative errno on failure; `flags` are IORING_CQE_F_*.
  // Runs on the shard, between two turns of coroutines. May submit again.
  virtual void Complete(int result, uint32_t flags) = 0;

 private:
  friend class Ring;
  bool in_flight_ = false;
};

}  // namespace mailrace::transport::uring
