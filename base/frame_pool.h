// Coroutine frames, recycled per thread: a dialogue makes and frees a frame per
// step, and malloc would be a visible part of a message's cost.
#pragma once

#include <cstddef>

namespace mailrace {

class FramePool {
 public:
  // Never null: out of memory ends the process.
  static void* Allocate(size_t octets);
  // `octets` as given to Allocate. May run on another thread than Allocate did.
  static void Free(void* frame, size_t octets) noexcept;
};

}  // namespace mailrace
