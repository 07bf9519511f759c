// What one message owes one nexthop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/queue_id.h"
#include "queue/tenants.h"

namespace mailrace::queue {

class NexthopQueue;

// A message held in memory by the engine (envelope, body, states). The scheduler only
// keeps it alive.
class MessageHandle {
 public:
  virtual ~MessageHandle() = default;
};

// Priority classes: 0 urgent, 1 normal, 2 bulk.
inline constexpr int kPriorities = 3;

// Owned by the Scheduler; the pointer is good until Finish() or Remove(). The engine may
// set `message` (evict and load again) and `recipients`; all else is the Scheduler's.
struct Job {
  QueueId id;
  NexthopQueue* nexthop = nullptr;
  std::shared_ptr<MessageHandle> message;  // Null: evicted, load it by id.
  MonoTime due;                            // When deferred.
  MonoTime ready_since;                    // When it became ready: the delay in the queue.
  uint32_t recipients = 0;
  uint8_t priority = 1;

  enum class State : uint8_t { kDeferred, kHeld, kReady, kInFlight };
  State state = State::kDeferred;
  TenantIndex tenant = Tenants::kNone;  // Name and weight: Scheduler::tenants().

 private:
  friend class FairLine;
  friend class JobPool;
  friend class NexthopQueue;
  friend class Scheduler;
  // A million of these are in memory: fields that never live together share room.
  Job* next_ = nullptr;  // Ready: in its line. Unused: in the free list.
  union {
    Job* previous_ = nullptr;  // Ready.
    size_t heap_index_;        // Deferred.
  };
  // All jobs of one message, in a ring, in the order of their Add().
  Job* sibling_next_ = nullptr;
  Job* sibling_previous_ = nullptr;
};

// 48 octets to ready_since, 8 with priority, state and tenant, 32 of links.
static_assert(sizeof(void*) != 8 || sizeof(Job) == 88);

}  // namespace mailrace::queue
