// The language of the scheduler's tests: jobs by number, time by a simulated clock, and
// the nexthops that on_ready named since the last look.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "gtest/gtest.h"
#include "queue/scheduler.h"

namespace mailrace::queue {

class SchedulerFixture : public testing::Test {
 protected:
  using Names = std::vector<std::string>;

  void Start(DestinationLimits limits) {
    scheduler_ = std::make_unique<Scheduler>(limits);
    scheduler_->set_on_ready([this](NexthopQueue* nexthop) { woken_.push_back(nexthop->name()); });
  }
  void SetUp() override { Start({}); }

  MonoTime Now() const { return clock_.Mono(); }
  MonoTime In(absl::Duration wait) const { return clock_.Mono() + wait; }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    scheduler_->Advance(Now());
  }

  Job* AddReady(uint64_t id, std::string_view nexthop = "a", uint8_t priority = 1) {
    return scheduler_->Add({id}, nexthop, nullptr, 1, priority, Now(), Now());
  }
  Job* AddFor(uint64_t id, std::string_view tenant, uint32_t recipients = 1, uint8_t priority = 1) {
    return scheduler_->Add({id}, "a", nullptr, recipients, priority, Now(), Now(), false, tenant);
  }
  Job* AddDeferred(uint64_t id, absl::Duration wait, std::string_view nexthop = "a") {
    return scheduler_->Add({id}, nexthop, nullptr, 1, 1, In(wait), Now());
  }
  NexthopQueue* At(std::string_view nexthop) { return scheduler_->FindNexthop(nexthop); }
  Job* Take(std::string_view nexthop = "a") { return At(nexthop)->Take(Now()); }
  // The id of the job taken; 0 if none could be.
  uint64_t TakeId(std::string_view nexthop = "a") {
    const Job* const job = Take(nexthop);
    return job == nullptr ? 0 : job->id.value;
  }
  // The nexthops named by on_ready since the last call.
  Names Woken() { return std::exchange(woken_, {}); }

  SimClock clock_;
  std::unique_ptr<Scheduler> scheduler_;
  Names woken_;
};

inline bool operator==(const Scheduler::Counts& a, const Scheduler::Counts& b) {
  return a.ready == b.ready && a.deferred == b.deferred && a.held == b.held &&
         a.in_flight == b.in_flight;
}

inline void PrintTo(const Scheduler::Counts& counts, std::ostream* out) {
  *out << counts.ready << " ready, " << counts.deferred << " deferred, " << counts.held << " held, "
       << counts.in_flight << " in flight";
}

}  // namespace mailrace::queue
