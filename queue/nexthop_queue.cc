#include "queue/nexthop_queue.h"

#include <algorithm>
#include <climits>
#include <utility>

#include "queue/scheduler.h"

namespace mailrace::queue {

namespace {

constexpr size_t kReasonOctetsMax = 1024;

int WindowMax(const DestinationLimits& limits) {
  if (limits.rate_delay > absl::ZeroDuration()) return 1;
  return limits.concurrency_limit > 0 ? limits.concurrency_limit : INT_MAX;
}

}  // namespace

DestinationLimits DestinationLimits::Share(int shard, int shards) const {
  const auto share = [shard, shards](int whole) {
    return std::max(1, whole / shards + (shard < whole % shards ? 1 : 0));
  };
  DestinationLimits limits = *this;
  limits.initial_concurrency = share(initial_concurrency);
  if (concurrency_limit > 0) limits.concurrency_limit = share(concurrency_limit);
  limits.rate_delay = rate_delay * shards;
  return limits;
}

int DestinationLimits::ShardsMax() const {
  if (rate_delay > absl::ZeroDuration()) return 1;
  return concurrency_limit > 0 ? concurrency_limit : INT_MAX;
}

NexthopQueue::NexthopQueue(std::string name, Scheduler* scheduler)
    : name_(std::move(name)),
      scheduler_(scheduler),
      lines_{FairLine(&scheduler->tenants_), FairLine(&scheduler->tenants_),
             FairLine(&scheduler->tenants_)} {
  StartWindow(0);
}

const DestinationLimits& NexthopQueue::limits() const { return scheduler_->limits_; }

void NexthopQueue::StartWindow(size_t from) {
  const int start =
      from > 0 ? static_cast<int>(std::min<size_t>(from, INT_MAX)) : limits().initial_concurrency;
  window_ = std::clamp(start, 1, WindowMax(limits()));
  success_ = 0;
  failure_ = 0;
  failed_cohorts_ = 0;
}

// --- Lines -------------------------------------------------------------------------

void NexthopQueue::Append(Job* job) {
  lines_[job->priority].Append(job);
  ++ready_count_;
}

void NexthopQueue::Prepend(Job* job) {
  lines_[job->priority].Prepend(job);
  ++ready_count_;
}

void NexthopQueue::Unlink(Job* job) {
  lines_[job->priority].Remove(job);
  --ready_count_;
}

bool NexthopQueue::MoreUrgentReady(uint8_t priority) const {
  for (int urgent = 0; urgent < priority; ++urgent) {
    if (!lines_[urgent].empty()) return true;
  }
  return false;
}

int NexthopQueue::PickClass() {
  for (int urgent = 0;; ++urgent) {
    if (lines_[urgent].empty()) {
      runs_[urgent] = 0;  // A less urgent one has its turn now.
      continue;
    }
    bool passed_by = false;
    for (int lower = urgent + 1; lower < kPriorities; ++lower) {
      passed_by = passed_by || !lines_[lower].empty();
    }
    if (!passed_by) {
      runs_[urgent] = 0;
      return urgent;
    }
    if (runs_[urgent] < kUrgencyRun) {
      ++runs_[urgent];
      return urgent;
    }
    runs_[urgent] = 0;  // Its turn is over: a less urgent one, by the same rule.
  }
}

// --- Taking ------------------------------------------------------------------------

bool NexthopQueue::RateLimited(MonoTime now) const {
  return limits().rate_delay > absl::ZeroDuration() && (in_flight_ > 0 || now < next_take_);
}

MonoTime NexthopQueue::RateWake() const {
  return in_flight_ > 0 ? MonoTime::Infinite() : next_take_;
}

Job* NexthopQueue::Take(MonoTime now) {
  if (ready_count_ == 0 || suspended(now)) return nullptr;
  if (suspended_until_ > MonoTime()) {
    Reopen();
    scheduler_->Wake(this, MonoTime::Infinite());
  }
  if (RateLimited(now)) {
    scheduler_->Wake(this, RateWake());
    return nullptr;
  }
  Job* const job = lines_[PickClass()].Take();
  --ready_count_;
  job->state = Job::State::kInFlight;
  ++in_flight_;
  --scheduler_->counts_.ready;
  ++scheduler_->counts_.in_flight;
  if (limits().rate_delay > absl::ZeroDuration()) next_take_ = now + limits().rate_delay;
  return job;
}

// --- Window ------------------------------------------------------------------------

int NexthopQueue::window() const {
  // The limit may have been lowered since.
  return dead_ ? 0 : std::min(window_, WindowMax(limits()));
}

void NexthopQueue::SessionSucceeded() {
  failed_cohorts_ = 0;
  if (dead_) {
    if (!suspended_until_.infinite()) Resume();
    return;
  }
  // Not further ahead of what is really going on than the initial concurrency:
  // otherwise a window that nobody uses would grow, and negative feedback would come
  // too late.
  const int window_max = WindowMax(limits());
  const size_t reach = in_flight_ + static_cast<size_t>(std::max(limits().initial_concurrency, 1));
  if (window_ >= window_max || static_cast<size_t>(window_) >= reach) return;
  const double share = limits().positive_feedback.At(window_);
  success_ += share;
  // Half a share of tolerance: 1/3 + 1/3 + 1/3 is a step whatever the rounding.
  if (share > 0 && success_ + share / 2 >= 1) {
    ++window_;
    success_ -= 1;
    failure_ = 0;
  }
}

bool NexthopQueue::SessionFailed() { return CohortFailed(static_cast<size_t>(window_)); }

bool NexthopQueue::SetupFailed() {
  const size_t present = std::max<size_t>(ready_count_ + in_flight_, 1);
  return CohortFailed(std::min(present, static_cast<size_t>(window_)));
}

bool NexthopQueue::CohortFailed(size_t cohort) {
  if (dead_) return false;  // Sessions that were under way: told once is enough.
  failed_cohorts_ += 1.0 / static_cast<double>(cohort);
  // Tolerance as above: five failures of a window of five are one cohort.
  const int limit = limits().failed_cohort_limit;
  if (limit > 0 && failed_cohorts_ + 1e-9 >= limit) {
    dead_ = true;
    return true;
  }
  // At a window of 1 the cycle goes on, so that failures still cancel out successes.
  const double share = limits().negative_feedback.At(window_);
  failure_ -= share;
  if (failure_ - share / 2 < 0 && share > 0) {
    window_ = std::max(window_ - 1, 1);
    success_ = 0;
    failure_ += 1;
  }
  return false;
}

void NexthopQueue::Suspend(MonoTime until, std::string reason) {
  if (suspended_until_.infinite()) return;
  suspended_until_ = until;
  if (reason.size() > kReasonOctetsMax) reason.resize(kReasonOctetsMax);
  suspend_reason_ = std::move(reason);
  scheduler_->Wake(this, until);
  scheduler_->UpdateIdle(this);
}

void NexthopQueue::Reopen() {
  suspended_until_ = MonoTime();
  suspend_reason_.clear();
  if (!dead_) return;
  dead_ = false;
  // Back from the dead: what is still in flight is a better guess than the start value.
  StartWindow(in_flight_);
}

void NexthopQueue::Resume() {
  Reopen();
  // The scheduler knows no time here; Take() looks at the rate delay itself and asks to
  // be woken.
  scheduler_->Wake(this, MonoTime::Infinite());
  scheduler_->Notify(this);
}

void NexthopQueue::Pin() {
  ++pins_;
  scheduler_->UpdateIdle(this);
}

void NexthopQueue::Unpin() {
  --pins_;
  scheduler_->UpdateIdle(this);
}

}  // namespace mailrace::queue
