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
  job->next_ = free_;
  free_ = job;
}

}  // namespace mailrace::queue
