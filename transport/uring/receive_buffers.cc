#include "transport/uring/receive_buffers.h"

#include <liburing.h>
#include <sys/mman.h>

#include "transport/uring/probe.h"

namespace mailrace::transport::uring {

namespace {

void* MapMemory(size_t octets) {
  void* memory = mmap(nullptr, octets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReceiveBuffers>> ReceiveBuffers::Create(io_uring* ring,
                                                                       unsigned count,
                                                                       unsigned octets_each) {
  std::unique_ptr<ReceiveBuffers> buffers(new ReceiveBuffers(count, octets_each));
  buffers->descriptors_ = static_cast<io_uring_buf_ring*>(MapMemory(buffers->descriptor_octets()));
  buffers->memory_ = static_cast<char*>(MapMemory(size_t{count} * octets_each));
  if (buffers->descriptors_ == nullptr || buffers->memory_ == nullptr) {
    return UringRefusal("receive buffers", ENOMEM);
  }
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uintptr_t>(buffers->descriptors_);
  registration.ring_entries = count;
  registration.bgid = kGroup;
  if (const int result = io_uring_register_buf_ring(ring, &registration, 0); result < 0) {
    return UringRefusal("register_buf_ring", -result);
  }
  io_uring_buf_ring_init(buffers->descriptors_);
  for (unsigned id = 0; id < count; ++id) buffers->Recycle(static_cast<uint16_t>(id));
  return buffers;
}

ReceiveBuffers::~ReceiveBuffers() {
  if (descriptors_ != nullptr) munmap(descriptors_, descriptor_octets());
  if (memory_ != nullptr) munmap(memory_, size_t{count_} * octets_each_);
}

size_t ReceiveBuffers::descriptor_octets() const { return size_t{count_} * sizeof(io_uring_buf); }

void ReceiveBuffers::Recycle(uint16_t id) {
  io_uring_buf_ring_add(descriptors_, memory_ + size_t{id} * octets_each_, octets_each_, id,
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(descriptors_, 1);
}

}  // namespace mailrace::transport::uring
