#include "base/frame_pool.h"

#include <array>
#include <new>

namespace mailrace {

namespace {

constexpr size_t kClassOctets = 128;
constexpr size_t kClasses = 32;  // Frames up to 4 KiB; larger ones go to malloc.
constexpr size_t kKeptPerClass = 256;

// Recycling would hide a use after free from the sanitizer.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kRecycled = false;
#elif defined(__has_feature)
constexpr bool kRecycled = !__has_feature(address_sanitizer);
#else
constexpr bool kRecycled = true;
#endif

struct FreeFrame {
  FreeFrame* next;
};

struct Cache {
  std::array<FreeFrame*, kClasses> heads{};
  std::array<size_t, kClasses> counts{};
  ~Cache() {
    for (FreeFrame* head : heads) {
      while (head != nullptr) {
        FreeFrame* next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
    // Frames that die later on this thread go straight to free().
    heads.fill(nullptr);
    counts.fill(kKeptPerClass);
  }
};

thread_local Cache cache;

constexpr size_t ClassOf(size_t octets) { return (octets - 1) / kClassOctets; }

}  // namespace

void* FramePool::Allocate(size_t octets) {
  const size_t c = ClassOf(octets);
  if (c >= kClasses) return ::operator new(octets);
  if (kRecycled) {
    if (FreeFrame* frame = cache.heads[c]; frame != nullptr) {
      cache.heads[c] = frame->next;
      --cache.counts[c];
      return frame;
    }
  }
  return ::operator new((c + 1) * kClassOctets);
}

void FramePool::Free(void* frame, size_t octets) noexcept {
  const size_t c = ClassOf(octets);
  if (kRecycled && c < kClasses && cache.counts[c] < kKeptPerClass) {
    auto* free_frame = static_cast<FreeFrame*>(frame);
    free_frame->next = cache.heads[c];
    cache.heads[c] = free_frame;
    ++cache.counts[c];
    return;
  }
  ::operator delete(frame);
}

}  // namespace mailrace
