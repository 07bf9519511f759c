#include "queue/fair_line.h"

#include <algorithm>

namespace mailrace::queue {

namespace {

// Virtual time is in parts of a recipient, so that dividing by a weight loses little; with
// 2^24 a line may serve 2^40 recipients before it is empty for once.
constexpr uint64_t kRecipient = uint64_t{1} << 24;

}  // namespace

uint64_t FairLine::Charge(const Job& job) const {
  return std::max<uint64_t>(job.recipients, 1) * kRecipient / tenants_->weight(job.tenant);
}

FairLine::Flow* FairLine::FlowOf(TenantIndex tenant) {
  std::unique_ptr<Flow>& flow = flows_[tenant];
  if (flow == nullptr) {
    flow = std::make_unique<Flow>();
    flow->tenant = tenant;
    flow->id = ++flow_ids_;
    flow->start = now_;
    tenants_->Share(tenant);
    heap_.Push(flow->start, flow.get());
  }
  return flow.get();
}

void FairLine::Append(Job* job) {
  Flow* const flow = FlowOf(job->tenant);
  if (flow->first == nullptr && flow->start < now_) {
    // It was away: the time of its absence is over.
    heap_.Remove(flow);
    flow->start = now_;
    heap_.Push(flow->start, flow);
  }
  job->next_ = nullptr;
  job->previous_ = flow->last;
  (flow->last != nullptr ? flow->last->next_ : flow->first) = job;
  flow->last = job;
  ++jobs_;
}

void FairLine::Prepend(Job* job) {
  Flow* const flow = FlowOf(job->tenant);
  const uint64_t charge = Charge(*job);
  // Not before virtual time: what others got meanwhile is theirs.
  const uint64_t start = std::max(now_, flow->start > charge ? flow->start - charge : 0);
  if (start != flow->start) {
    heap_.Remove(flow);
    flow->start = start;
    heap_.Push(flow->start, flow);
  }
  job->previous_ = nullptr;
  job->next_ = flow->first;
  (flow->first != nullptr ? flow->first->previous_ : flow->last) = job;
  flow->first = job;
  ++jobs_;
}

void FairLine::Unlink(Flow* flow, Job* job) {
  (job->previous_ != nullptr ? job->previous_->next_ : flow->first) = job->next_;
  (job->next_ != nullptr ? job->next_->previous_ : flow->last) = job->previous_;
  job->next_ = nullptr;
  job->previous_ = nullptr;
  --jobs_;
}

void FairLine::Remove(Job* job) {
  Unlink(FlowOf(job->tenant), job);
  if (jobs_ == 0) Clear();
}

Job* FairLine::Take() {
  Flow* flow = heap_.top();
  // Without jobs, and all that wait have caught up with it: nothing to remember.
  while (flow->first == nullptr) {
    Forget(flow);
    flow = heap_.top();
  }
  Job* const job = flow->first;
  Unlink(flow, job);
  now_ = std::max(now_, flow->start);
  if (jobs_ == 0) {
    Clear();
    return job;
  }
  heap_.Remove(flow);
  flow->start += Charge(*job);
  heap_.Push(flow->start, flow);
  return job;
}

void FairLine::Forget(Flow* flow) {
  heap_.Remove(flow);
  const TenantIndex tenant = flow->tenant;
  flows_.erase(tenant);
  tenants_->Release(tenant);
}

// Nobody waits, so nobody is owed anything.
void FairLine::Clear() {
  while (!heap_.empty()) Forget(heap_.top());
  now_ = 0;
}

}  // namespace mailrace::queue
