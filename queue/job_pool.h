// Room for jobs, in blocks, so that a million of them cost their size and no more.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "queue/job.h"

namespace mailrace::queue {

class JobPool {
 public:
  JobPool() = default;
  JobPool(const JobPool&) = delete;
  JobPool& operator=(const JobPool&) = delete;

  // A fresh Job. O(1) but for one allocation every kBlockJobs.
  Job* Make();
  // Destroys it; its room is used again. Room is not given back before the pool's end:
  // memory is that of the most jobs there ever were at once.
  void Recycle(Job* job);

  // Looks at up to `count` rooms from `*cursor` on and visits the jobs in them; whatever
  // is made or recycled between two calls, also by `visit`, a job that lives throughout a
  // round is visited once in it. False: the round is over, *cursor is at its start again.
  bool Sweep(size_t* cursor, size_t count, const std::function<void(Job*)>& visit);

  size_t octets() const { return blocks_.size() * kBlockJobs * sizeof(Job); }

 private:
  static constexpr size_t kBlockJobs = 512;
  struct alignas(Job) Slot {
    std::byte octets[sizeof(Job)];
  };
  std::vector<std::unique_ptr<Slot[]>> blocks_;
  size_t used_of_last_block_ = kBlockJobs;
  Job* free_ = nullptr;
};

}  // namespace mailrace::queue
