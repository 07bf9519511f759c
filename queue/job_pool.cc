#include "queue/job_pool.h"

#include <new>

namespace mailrace::queue {

Job* JobPool::Make() {
  if (free_ != nullptr) {
    Job* const job = free_;
    free_ = job->next_;
    *job = Job();
    return job;
  }
  if (used_of_last_block_ == kBlockJobs) {
    // Uninitialised: a block's pages are touched as they are used.
    blocks_.emplace_back(new Slot[kBlockJobs]);
    used_of_last_block_ = 0;
  }
  return new (&blocks_.back()[used_of_last_block_++]) Job();
}

// A free job holds no message, so that its destructor would do nothing: the pool's end
// need not visit the free ones.
void JobPool::Recycle(Job* job) {
  job->message.reset();
  job->nexthop = nullptr;  // Tells a sweep that nobody lives here.
  job->next_ = free_;
  free_ = job;
}

bool JobPool::Sweep(size_t* cursor, size_t count, const std::function<void(Job*)>& visit) {
  for (; count > 0; --count, ++*cursor) {
    const size_t block = *cursor / kBlockJobs;
    const size_t place = *cursor % kBlockJobs;
    const bool last = block + 1 == blocks_.size();
    if (block >= blocks_.size() || (last && place >= used_of_last_block_)) {
      *cursor = 0;
      return false;
    }
    Job* const job = reinterpret_cast<Job*>(&blocks_[block][place]);
    if (job->nexthop != nullptr) visit(job);
  }
  return true;
}

}  // namespace mailrace::queue
