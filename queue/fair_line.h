// The ready jobs of one priority class at one nexthop: first come, first served within a
// tenant, and the tenants that wait share the takes by their weights.
//
// Weighted fair queueing with start tags (Goyal, Vin, Cheng 1996): each tenant's next job
// has a start tag in virtual time, the least is taken, and the tenant's tag moves on by
// cost / weight. The cost of a job is its recipients. So among tenants that always have
// work, for any two the services they got since both waited, divided by their weights,
// differ by at most one job of each; a tenant that comes back waits for its turn but
// gets none for the time of its absence; one without competition takes all.
//
// Append, Prepend and Remove take constant time; Take takes logarithmic time in the
// tenants that wait here, constant time for one. What is kept of a tenant ends when the
// others have caught up with it, at the latest when the line is empty.
//
// Owned by a NexthopQueue; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "queue/due_heap.h"
#include "queue/job.h"
#include "queue/tenants.h"

namespace mailrace::queue {

class FairLine {
 public:
  // Borrowed; outlives it.
  explicit FairLine(Tenants* tenants) : tenants_(tenants) {}
  ~FairLine() { Clear(); }
  FairLine(const FairLine&) = delete;
  FairLine& operator=(const FairLine&) = delete;

  bool empty() const { return jobs_ == 0; }

  void Append(Job* job);
  // A job that was taken and comes back undone: first of its tenant, which gets back what
  // it was charged.
  void Prepend(Job* job);
  // REQUIRES: `job` is in this line.
  void Remove(Job* job);
  // The next one, out of the line and charged to its tenant. REQUIRES: !empty().
  Job* Take();

 private:
  struct Flow {
    TenantIndex tenant = 0;
    uint64_t id = 0;     // In order of coming: ties are broken by it.
    uint64_t start = 0;  // Virtual time of its next service.
    Job* first = nullptr;
    Job* last = nullptr;
    size_t heap_index = 0;
  };

  Flow* FlowOf(TenantIndex tenant);
  void Unlink(Flow* flow, Job* job);
  void Forget(Flow* flow);
  void Clear();
  uint64_t Charge(const Job& job) const;

  Tenants* const tenants_;
  // All flows, those without jobs too until virtual time has passed them.
  absl::flat_hash_map<TenantIndex, std::unique_ptr<Flow>> flows_;
  DueHeap<Flow, &Flow::heap_index, uint64_t> heap_;  // By start.
  uint64_t now_ = 0;                                 // Virtual.
  uint64_t flow_ids_ = 0;
  size_t jobs_ = 0;
};

}  // namespace mailrace::queue
