#include "queue/scheduler.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/container/inlined_vector.h"

namespace mailrace::queue {

Scheduler::Scheduler(DestinationLimits limits) : limits_(limits) {}

Scheduler::~Scheduler() {
  // The pool gives back room but runs no destructors: let go of the messages here.
  for (Job* const first : messages_) {
    Job* job = first;
    do {
      job->message.reset();
      job = job->sibling_next_;
    } while (job != first);
  }
}

void Scheduler::set_on_ready(std::function<void(NexthopQueue*)> callback) {
  on_ready_ = std::move(callback);
}

// --- Jobs --------------------------------------------------------------------------

void Scheduler::LinkSibling(Job* job) {
  const auto [found, is_first] = messages_.insert(job);
  if (is_first) {
    job->sibling_next_ = job;
    job->sibling_previous_ = job;
    return;
  }
  Job* const first = *found;
  job->sibling_next_ = first;
  job->sibling_previous_ = first->sibling_previous_;
  first->sibling_previous_->sibling_next_ = job;
  first->sibling_previous_ = job;
}

void Scheduler::UnlinkSibling(Job* job) {
  const auto found = messages_.find(job->id);
  if (*found == job) {
    messages_.erase(found);
    if (job->sibling_next_ != job) messages_.insert(job->sibling_next_);
  }
  job->sibling_previous_->sibling_next_ = job->sibling_next_;
  job->sibling_next_->sibling_previous_ = job->sibling_previous_;
}

void Scheduler::Leave(Job* job) {
  switch (job->state) {
    case Job::State::kDeferred:
      (flushed_.Contains(job) ? flushed_ : deferred_).Remove(job);
      --counts_.deferred;
      break;
    case Job::State::kHeld:
      --counts_.held;
      break;
    case Job::State::kReady:
      job->nexthop->Unlink(job);
      --counts_.ready;
      break;
    case Job::State::kInFlight:
      --job->nexthop->in_flight_;
      --counts_.in_flight;
      FlightEnded(job->nexthop);
      break;
  }
}

void Scheduler::BecomeReady(Job* job, MonoTime now) {
  job->state = Job::State::kReady;
  job->ready_since = now;
  job->nexthop->Append(job);
  ++counts_.ready;
}

void Scheduler::BecomeDeferred(Job* job, MonoTime due) {
  job->state = Job::State::kDeferred;
  job->due = due;
  deferred_.Push(due, job);
  ++counts_.deferred;
}

Job* Scheduler::Add(QueueId id, std::string_view nexthop, std::shared_ptr<MessageHandle> message,
                    uint32_t recipients, uint8_t priority, MonoTime due, MonoTime now, bool held,
                    std::string_view tenant) {
  Job* const job = pool_.Make();
  job->id = id;
  job->nexthop = Nexthop(nexthop);
  job->message = std::move(message);
  job->due = due;
  job->recipients = recipients;
  job->priority = std::min<uint8_t>(priority, kPriorities - 1);
  job->tenant = tenants_.Acquire(tenant);
  LinkSibling(job);
  ++job->nexthop->jobs_;
  UpdateIdle(job->nexthop);
  if (held) {
    job->state = Job::State::kHeld;
    ++counts_.held;
  } else if (due <= now) {
    BecomeReady(job, now);
    if (job->nexthop->ready_count_ == 1) NotifyIfOpen(job->nexthop, now);
  } else {
    BecomeDeferred(job, due);
  }
  return job;
}

void Scheduler::Finish(Job* job) {
  assert(job->state == Job::State::kInFlight);
  Remove(job);
}

void Scheduler::Remove(Job* job) {
  if (on_end_ != nullptr) on_end_(*job);
  Leave(job);
  UnlinkSibling(job);
  NexthopQueue* const nexthop = job->nexthop;
  --nexthop->jobs_;
  tenants_.Release(job->tenant);
  pool_.Recycle(job);
  UpdateIdle(nexthop);
}

void Scheduler::TakeOut(Job* job, MonoTime now) {
  assert(job->state != Job::State::kInFlight);
  Leave(job);
  job->state = Job::State::kInFlight;
  job->ready_since = now;
  ++job->nexthop->in_flight_;
  ++counts_.in_flight;
}

void Scheduler::Defer(Job* job, MonoTime due) {
  assert(job->state == Job::State::kInFlight);
  Leave(job);
  BecomeDeferred(job, due);
}

void Scheduler::Release(Job* job, MonoTime now) {
  assert(job->state == Job::State::kInFlight);
  // Nothing was delivered: the turn that the rate delay gave is given back. And
  // ready_since stays, for the wait in the queue goes on.
  job->nexthop->next_take_ = MonoTime();
  Leave(job);
  job->state = Job::State::kReady;
  job->nexthop->Prepend(job);
  ++counts_.ready;
  if (job->nexthop->ready_count_ == 1) NotifyIfOpen(job->nexthop, now);
}

void Scheduler::Hold(Job* job) {
  assert(job->state != Job::State::kHeld);
  Leave(job);
  job->state = Job::State::kHeld;
  ++counts_.held;
}

void Scheduler::Unhold(Job* job, MonoTime now) {
  assert(job->state == Job::State::kHeld);
  Leave(job);
  BecomeReady(job, now);
  if (job->nexthop->ready_count_ == 1) NotifyIfOpen(job->nexthop, now);
}

void Scheduler::MakeReady(Job* job, MonoTime now) {
  assert(job->state == Job::State::kDeferred);
  Leave(job);
  BecomeReady(job, now);
  if (job->nexthop->ready_count_ == 1) NotifyIfOpen(job->nexthop, now);
}

void Scheduler::TakeAside(Job* job) {
  assert(job->state == Job::State::kReady);
  Leave(job);
  job->state = Job::State::kInFlight;
  ++job->nexthop->in_flight_;
  ++counts_.in_flight;
}

void Scheduler::FlushAll(MonoTime now) {
  if (flushed_.empty()) {
    std::swap(flushed_, deferred_);
  } else {
    flush_again_ = true;
  }
  // Every suspension with an end is among the wakes; and unlike nexthops_ their order
  // is the same in every run.
  for (const auto& [time, nexthop] : wakes_.TakeAll()) {
    nexthop->wake_index_ = NexthopQueue::kNowhere;
    if (nexthop->suspended_until_ > MonoTime()) nexthop->Reopen();
    if (nexthop->ready_count_ > 0) NoticeLater(nexthop);
  }
  Advance(now);
}

// --- Time --------------------------------------------------------------------------

void Scheduler::MoveFirst(const DeferredHeap& heap, MonoTime now) {
  Job* const job = heap.top();
  Leave(job);
  BecomeReady(job, now);
  if (job->nexthop->ready_count_ == 1) NoticeLater(job->nexthop);
}

void Scheduler::Advance(MonoTime now) {
  for (size_t moved = 0; moved < kAdvanceJobsMax; ++moved) {
    if (flushed_.empty() && std::exchange(flush_again_, false)) std::swap(flushed_, deferred_);
    if (!flushed_.empty()) {
      MoveFirst(flushed_, now);
    } else if (!deferred_.empty() && deferred_.earliest() <= now) {
      MoveFirst(deferred_, now);
    } else {
      break;
    }
  }
  if (flushed_.empty()) flushed_ = DeferredHeap();  // Its room, too.
  while (!wakes_.empty() && wakes_.earliest() <= now) {
    NexthopQueue* const nexthop = wakes_.top();
    Wake(nexthop, MonoTime::Infinite());
    if (nexthop->suspended_until_ > MonoTime() && !nexthop->suspended(now)) nexthop->Reopen();
    if (nexthop->ready_count_ > 0) NoticeLater(nexthop);
  }
  CallNotices(now);
}

MonoTime Scheduler::NextWake() const {
  if (!flushed_.empty() || flush_again_) return MonoTime();
  MonoTime wake = MonoTime::Infinite();
  if (!deferred_.empty()) wake = deferred_.earliest();
  if (!wakes_.empty()) wake = std::min(wake, wakes_.earliest());
  return wake;
}

void Scheduler::Wake(NexthopQueue* nexthop, MonoTime time) {
  if (nexthop->wake_index_ != NexthopQueue::kNowhere) {
    wakes_.Remove(nexthop);
    nexthop->wake_index_ = NexthopQueue::kNowhere;
  }
  if (!time.infinite()) wakes_.Push(time, nexthop);
}

void Scheduler::FlightEnded(NexthopQueue* nexthop) {
  const bool waits_for_rate = limits_.rate_delay > absl::ZeroDuration() &&
                              nexthop->ready_count_ > 0 && nexthop->suspended_until_ == MonoTime();
  if (waits_for_rate) Wake(nexthop, nexthop->RateWake());
}

// --- Notices -----------------------------------------------------------------------

void Scheduler::NotifyIfOpen(NexthopQueue* nexthop, MonoTime now) {
  if (nexthop->ready_count_ == 0 || nexthop->suspended(now)) return;
  if (nexthop->RateLimited(now)) {
    Wake(nexthop, nexthop->RateWake());
    return;
  }
  Notify(nexthop);
}

void Scheduler::Notify(NexthopQueue* nexthop) {
  UpdateIdle(nexthop);
  if (nexthop->ready_count_ > 0 && on_ready_) on_ready_(nexthop);
}

void Scheduler::NoticeLater(NexthopQueue* nexthop) {
  if (nexthop->notice_pending_) return;
  nexthop->notice_pending_ = true;
  notices_.push_back(nexthop);
}

void Scheduler::CallNotices(MonoTime now) {
  // The call-backs may cause notices of their own, and end jobs of nexthops that are
  // still to be called: a pending notice keeps those alive.
  const std::vector<NexthopQueue*> notices = std::exchange(notices_, {});
  for (NexthopQueue* const nexthop : notices) {
    NotifyIfOpen(nexthop, now);
    nexthop->notice_pending_ = false;
    UpdateIdle(nexthop);
  }
}

// --- Finding -----------------------------------------------------------------------

Job* Scheduler::Find(QueueId id) const {
  const auto found = messages_.find(id);
  return found == messages_.end() ? nullptr : *found;
}

void Scheduler::ForEachOf(QueueId id, const std::function<void(Job*)>& visit) {
  Job* const first = Find(id);
  if (first == nullptr) return;
  absl::InlinedVector<Job*, 8> jobs;
  Job* job = first;
  do {
    jobs.push_back(job);
    job = job->sibling_next_;
  } while (job != first);
  for (Job* const each : jobs) visit(each);
}

void Scheduler::ForEach(const std::function<void(const Job&)>& visit) const {
  for (const Job* const first : messages_) {
    const Job* job = first;
    do {
      visit(*job);
      job = job->sibling_next_;
    } while (job != first);
  }
}

void Scheduler::ForEachNexthop(const std::function<void(NexthopQueue&)>& visit) {
  for (const auto& [name, nexthop] : nexthops_) visit(*nexthop);
}

NexthopQueue* Scheduler::FindNexthop(std::string_view name) {
  const auto found = nexthops_.find(absl::string_view(name.data(), name.size()));
  return found == nexthops_.end() ? nullptr : found->second.get();
}

NexthopQueue* Scheduler::Nexthop(std::string_view name) {
  if (NexthopQueue* const known = FindNexthop(name)) return known;
  // The constructor is private: make_unique could not call it.
  std::unique_ptr<NexthopQueue> made(new NexthopQueue(std::string(name), this));
  NexthopQueue* const nexthop = made.get();
  nexthops_.emplace(std::string(name), std::move(made));
  UpdateIdle(nexthop);
  return nexthop;
}

// --- Forgetting --------------------------------------------------------------------

void Scheduler::UpdateIdle(NexthopQueue* nexthop) {
  // What the operator suspended stays so, mail or no mail.
  const bool idle = nexthop->jobs_ == 0 && nexthop->pins_ == 0 && !nexthop->notice_pending_ &&
                    !nexthop->suspended_until_.infinite();
  if (idle == nexthop->idle_) return;
  nexthop->idle_ = idle;
  if (!idle) {
    NexthopQueue* const next = nexthop->idle_next_;
    NexthopQueue* const previous = nexthop->idle_previous_;
    (previous != nullptr ? previous->idle_next_ : idle_first_) = next;
    (next != nullptr ? next->idle_previous_ : idle_last_) = previous;
    --idle_count_;
    return;
  }
  nexthop->idle_next_ = nullptr;
  nexthop->idle_previous_ = idle_last_;
  (idle_last_ != nullptr ? idle_last_->idle_next_ : idle_first_) = nexthop;
  idle_last_ = nexthop;
  ++idle_count_;
  if (idle_count_ > kIdleNexthopsMax) ForgetIdlest();
}

void Scheduler::ForgetIdlest() {
  NexthopQueue* const nexthop = idle_first_;
  idle_first_ = nexthop->idle_next_;
  (idle_first_ != nullptr ? idle_first_->idle_previous_ : idle_last_) = nullptr;
  --idle_count_;
  Wake(nexthop, MonoTime::Infinite());
  nexthops_.erase(nexthops_.find(nexthop->name_));
}

size_t Scheduler::octets() const {
  // A flat_hash_set slot costs its pointer and one control octet.
  return pool_.octets() + deferred_.octets() + flushed_.octets() +
         messages_.capacity() * (sizeof(Job*) + 1);
}

}  // namespace mailrace::queue
