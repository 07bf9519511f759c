// The provided buffers of one ring: memory that the kernel picks from when octets come,
// not before. Private to ring.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

struct io_uring;
struct io_uring_buf_ring;

namespace mailrace::transport::uring {

class ReceiveBuffers {
 public:
  static constexpr int kGroup = 0;

  // Registers with `ring`, which must be gone before this is destroyed.
  // `count` is a power of two.
  static absl::StatusOr<std::unique_ptr<ReceiveBuffers>> Create(io_uring* ring, unsigned count,
                                                                unsigned octets_each);
  ~ReceiveBuffers();
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

  std::string_view View(uint16_t id, size_t octets) const {
    return {memory_ + size_t{id} * octets_each_, octets};
  }
  // The kernel may use it again.
  void Recycle(uint16_t id);

 private:
  ReceiveBuffers(unsigned count, unsigned octets_each) : count_(count), octets_each_(octets_each) {}
  size_t descriptor_octets() const;

  const unsigned count_;
  const unsigned octets_each_;
  io_uring_buf_ring* descriptors_ = nullptr;  // Shared with the kernel; page-aligned.
  char* memory_ = nullptr;
};

}  // namespace mailrace::transport::uring
