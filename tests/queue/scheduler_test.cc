#include "queue/scheduler.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/random.h"
#include "gmock/gmock.h"
#include "scheduler_fixture.h"

namespace mailrace::queue {
namespace {

using Counts = Scheduler::Counts;
using testing::ElementsAre;
using testing::IsEmpty;

class SchedulerTest : public SchedulerFixture {};

struct Tracked final : MessageHandle {};

// --- A job's life ------------------------------------------------------------------

TEST_F(SchedulerTest, JobGoesFromReadyToInFlightToGone) {
  Job* const added = AddReady(1);
  EXPECT_EQ(added->state, Job::State::kReady);
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = 1}));
  Job* const taken = Take();
  ASSERT_EQ(taken, added);
  EXPECT_EQ(taken->state, Job::State::kInFlight);
  EXPECT_EQ(scheduler_->counts(), (Counts{.in_flight = 1}));
  EXPECT_EQ(Take(), nullptr);
  scheduler_->Finish(taken);
  EXPECT_EQ(scheduler_->counts(), Counts{});
  EXPECT_EQ(scheduler_->Find({1}), nullptr);
}

TEST_F(SchedulerTest, DeferredJobBecomesReadyWhenItIsDueAndNotBefore) {
  AddReady(1);
  scheduler_->Defer(Take(), In(absl::Seconds(300)));
  EXPECT_EQ(scheduler_->counts(), (Counts{.deferred = 1}));
  EXPECT_EQ(scheduler_->NextWake(), In(absl::Seconds(300)));
  Pass(absl::Seconds(300) - absl::Nanoseconds(1));
  EXPECT_EQ(TakeId(), 0u);
  Pass(absl::Nanoseconds(1));
  EXPECT_EQ(scheduler_->Find({1})->ready_since, Now());
  EXPECT_EQ(TakeId(), 1u);
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

TEST_F(SchedulerTest, ReleasedJobIsFirstAgainAndKeepsItsWait) {
  AddReady(1);
  AddReady(2);
  Job* const job = Take();
  const MonoTime since = job->ready_since;
  Pass(absl::Seconds(5));
  scheduler_->Release(job, Now());
  EXPECT_EQ(job->ready_since, since);
  EXPECT_EQ(TakeId(), 1u);
  EXPECT_EQ(TakeId(), 2u);
}

TEST_F(SchedulerTest, HeldJobWaitsForUnholdFromAnyState) {
  Job* const fresh = scheduler_->Add({1}, "a", nullptr, 1, 1, Now(), Now(), /*held=*/true);
  Job* const ready = AddReady(2);
  Job* const deferred = AddDeferred(3, absl::Seconds(1));
  scheduler_->Hold(ready);
  scheduler_->Hold(deferred);
  Job* const in_flight = AddReady(4);
  Take();
  scheduler_->Hold(in_flight);
  EXPECT_EQ(scheduler_->counts(), (Counts{.held = 4}));
  EXPECT_EQ(At("a")->in_flight(), 0u);
  Pass(absl::Hours(1));
  EXPECT_EQ(TakeId(), 0u);
  scheduler_->FlushAll(Now());
  EXPECT_EQ(TakeId(), 0u);
  for (Job* const job : {fresh, ready, deferred, in_flight}) scheduler_->Unhold(job, Now());
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = 4}));
}

TEST_F(SchedulerTest, RemoveEndsAJobInAnyState) {
  scheduler_->Remove(AddReady(1));
  scheduler_->Remove(AddDeferred(2, absl::Seconds(1)));
  scheduler_->Remove(scheduler_->Add({3}, "a", nullptr, 1, 1, Now(), Now(), /*held=*/true));
  AddReady(4);
  scheduler_->Remove(Take());
  EXPECT_EQ(scheduler_->counts(), Counts{});
  EXPECT_EQ(At("a")->jobs(), 0u);
  EXPECT_EQ(TakeId(), 0u);
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

TEST_F(SchedulerTest, MessageLivesAsLongAsItsJob) {
  auto message = std::make_shared<Tracked>();
  const std::weak_ptr<Tracked> watch = message;
  scheduler_->Add({1}, "a", message, 1, 1, Now(), Now());
  scheduler_->Add({1}, "b", std::move(message), 1, 1, In(absl::Hours(1)), Now());
  scheduler_->Finish(Take("a"));
  EXPECT_FALSE(watch.expired());
  Start({});  // The old scheduler goes with a job deferred.
  EXPECT_TRUE(watch.expired());
}

// --- Order -------------------------------------------------------------------------

TEST_F(SchedulerTest, OldestFirstWithinAClass) {
  for (uint64_t id : {3, 1, 2}) AddReady(id);
  EXPECT_EQ(TakeId(), 3u);
  EXPECT_EQ(TakeId(), 1u);
  EXPECT_EQ(TakeId(), 2u);
}

TEST_F(SchedulerTest, UrgentBeforeNormalBeforeBulk) {
  AddReady(3, "a", 2);
  AddReady(2, "a", 1);
  AddReady(1, "a", 0);
  AddReady(4, "a", 200);  // Counts as bulk.
  for (uint64_t id : {1, 2, 3, 4}) EXPECT_EQ(TakeId(), id);
}

TEST_F(SchedulerTest, NoClassStarves) {
  // All three classes always have work: of 81 takes 72 are urgent, 8 normal, 1 bulk, and
  // a less urgent job never waits for more than its bound.
  std::string order;
  for (uint64_t id = 1; id <= 200; ++id) {
    AddReady(1000 + id, "a", 0);
    AddReady(2000 + id, "a", 1);
    AddReady(3000 + id, "a", 2);
  }
  for (int take = 0; take < 162; ++take) {
    order += "UNB"[Take()->priority];
  }
  EXPECT_EQ(order.substr(0, 18), "UUUUUUUUNUUUUUUUUN");
  EXPECT_EQ(order.find('B'), 80u);
  EXPECT_EQ(order.find('B', 81), 161u);
  EXPECT_EQ(std::count(order.begin(), order.end(), 'N'), 16);
}

TEST_F(SchedulerTest, UrgentMailAloneSavesUpNoTurnForOthers) {
  for (uint64_t id = 1; id <= 30; ++id) AddReady(id, "a", 0);
  for (int take = 0; take < 20; ++take) Take();
  AddReady(100, "a", 2);
  // The bulk job came now: the bound counts from now.
  for (int take = 0; take < NexthopQueue::kUrgencyRun; ++take) EXPECT_EQ(Take()->priority, 0);
  EXPECT_EQ(Take()->priority, 2);
}

// The stated bound: of n urgent jobs the last is taken at the latest by take n + ceil(n/8),
// however much else waits and whatever went before.
TEST_F(SchedulerTest, UrgentJobsAreTakenWithinTheStatedBound) {
  uint64_t id = 0;
  for (int i = 0; i < 2000; ++i) {
    AddReady(++id, "a", 1);
    AddReady(++id, "a", 2);
  }
  for (int before = 0; before <= 20; ++before) {
    for (int urgent = 1; urgent <= 20; ++urgent) {
      SCOPED_TRACE(testing::Message() << urgent << " urgent ones after " << before);
      for (int i = 0; i < before; ++i) AddReady(++id, "a", 0);
      for (int left = before; left > 0;) left -= Take()->priority == 0 ? 1 : 0;
      for (int i = 0; i < urgent; ++i) AddReady(++id, "a", 0);
      int takes = 0;
      for (int left = urgent; left > 0; ++takes) left -= Take()->priority == 0 ? 1 : 0;
      EXPECT_LE(takes, urgent + (urgent + 7) / 8);
    }
  }
}

TEST_F(SchedulerTest, AnotherClassesTurnEndsTheRunOfTheUrgent) {
  for (uint64_t id = 1; id <= 8; ++id) AddReady(id, "a", 0);
  for (uint64_t id = 11; id <= 20; ++id) AddReady(id, "a", 2);
  for (int take = 0; take < 8; ++take) EXPECT_EQ(Take()->priority, 0);
  EXPECT_EQ(Take()->priority, 2);  // No urgent one is left: its turn all the same.
  AddReady(9, "a", 0);
  EXPECT_EQ(TakeId(), 9u);
}

TEST_F(SchedulerTest, MoreUrgentReadyLooksAtHigherClassesOnly) {
  AddReady(1, "a", 1);
  EXPECT_TRUE(At("a")->MoreUrgentReady(2));
  EXPECT_FALSE(At("a")->MoreUrgentReady(1));
  EXPECT_FALSE(At("a")->MoreUrgentReady(0));
  Take();
  EXPECT_FALSE(At("a")->MoreUrgentReady(2));
}

TEST_F(SchedulerTest, DueTogetherTheOlderMessageGoesFirst) {
  for (uint64_t id : {5, 2, 4, 1, 3}) AddDeferred(id, absl::Seconds(10));
  Pass(absl::Seconds(10));
  for (uint64_t id : {1, 2, 3, 4, 5}) EXPECT_EQ(TakeId(), id);
}

// --- One message, several nexthops -------------------------------------------------

TEST_F(SchedulerTest, MessageMayOweSeveralNexthops) {
  Job* const first = AddReady(7, "a");
  Job* const second = AddReady(7, "b");
  Job* const third = AddDeferred(7, absl::Seconds(1), "c");
  AddReady(8, "a");
  EXPECT_EQ(scheduler_->Find({7}), first);
  std::vector<Job*> jobs;
  scheduler_->ForEachOf({7}, [&](Job* job) { jobs.push_back(job); });
  EXPECT_THAT(jobs, ElementsAre(first, second, third));
  scheduler_->Remove(first);
  EXPECT_EQ(scheduler_->Find({7}), second);
  scheduler_->Remove(third);
  scheduler_->Remove(second);
  EXPECT_EQ(scheduler_->Find({7}), nullptr);
  EXPECT_EQ(scheduler_->Find({8})->id.value, 8u);
}

TEST_F(SchedulerTest, ForEachOfMayEndTheJobsItVisits) {
  for (const char* nexthop : {"a", "b", "c"}) AddReady(7, nexthop);
  scheduler_->ForEachOf({7}, [&](Job* job) { scheduler_->Remove(job); });
  EXPECT_EQ(scheduler_->counts(), Counts{});
  scheduler_->ForEachOf({7}, [&](Job*) { FAIL() << "no job is left"; });
}

TEST_F(SchedulerTest, ForEachSeesEveryJobOnce) {
  AddReady(1, "a");
  AddReady(1, "b");
  AddDeferred(2, absl::Seconds(1));
  Take("a");
  std::multiset<uint64_t> ids;
  scheduler_->ForEach([&](const Job& job) { ids.insert(job.id.value); });
  EXPECT_THAT(ids, ElementsAre(1, 1, 2));
}

// --- on_ready ----------------------------------------------------------------------

TEST_F(SchedulerTest, OnReadyIsCalledForTheFirstReadyJobOnly) {
  AddReady(1);
  EXPECT_THAT(Woken(), ElementsAre("a"));
  AddReady(2);
  EXPECT_THAT(Woken(), IsEmpty());
  Take();
  Take();
  AddReady(3);
  EXPECT_THAT(Woken(), ElementsAre("a"));
}

TEST_F(SchedulerTest, OnReadyIsCalledOnceForManyThatAreDueTogether) {
  for (uint64_t id = 1; id <= 10; ++id) AddDeferred(id, absl::Seconds(1), id % 2 ? "a" : "b");
  EXPECT_THAT(Woken(), IsEmpty());
  Pass(absl::Seconds(1));
  EXPECT_THAT(Woken(), ElementsAre("a", "b"));
}

TEST_F(SchedulerTest, OnReadyIsCalledAfterReleaseUnholdAndMakeReady) {
  AddReady(1);
  Woken();
  scheduler_->Release(Take(), Now());
  EXPECT_THAT(Woken(), ElementsAre("a"));
  scheduler_->Hold(scheduler_->Find({1}));
  scheduler_->Unhold(scheduler_->Find({1}), Now());
  EXPECT_THAT(Woken(), ElementsAre("a"));
  AddDeferred(2, absl::Hours(1), "b");
  scheduler_->MakeReady(scheduler_->Find({2}), Now());
  EXPECT_THAT(Woken(), ElementsAre("b"));
}

TEST_F(SchedulerTest, OnReadyMayTakeFinishAndAdd) {
  uint64_t next = 100;
  scheduler_->set_on_ready([&](NexthopQueue* nexthop) {
    woken_.push_back(nexthop->name());
    while (Job* const job = nexthop->Take(Now())) scheduler_->Finish(job);
    if (next < 103) AddReady(next++, "c");
  });
  AddDeferred(1, absl::Seconds(1), "a");
  AddDeferred(2, absl::Seconds(1), "b");
  Pass(absl::Seconds(1));
  EXPECT_EQ(scheduler_->counts(), Counts{});
  EXPECT_THAT(Woken(), ElementsAre("a", "c", "c", "c", "b"));
}

TEST_F(SchedulerTest, OnReadyIsNotCalledForWorkThatAnotherCallbackTook) {
  scheduler_->set_on_ready([&](NexthopQueue* nexthop) {
    woken_.push_back(nexthop->name());
    for (const char* name : {"a", "b"}) {
      while (Job* const job = Take(name)) scheduler_->Finish(job);
    }
  });
  AddDeferred(1, absl::Seconds(1), "a");
  AddDeferred(2, absl::Seconds(1), "b");
  Pass(absl::Seconds(1));
  EXPECT_THAT(Woken(), ElementsAre("a"));
}

// --- Flush -------------------------------------------------------------------------

TEST_F(SchedulerTest, FlushMakesAllReadyInOrderOfTheirTimeAndResumes) {
  AddDeferred(2, absl::Hours(2));
  AddDeferred(1, absl::Hours(1));
  AddDeferred(3, absl::Hours(3), "b");
  At("b")->Suspend(In(absl::Hours(1)), "connect refused");
  scheduler_->FlushAll(Now());
  EXPECT_THAT(Woken(), ElementsAre("a", "b"));
  EXPECT_EQ(TakeId("a"), 1u);
  EXPECT_EQ(TakeId("a"), 2u);
  EXPECT_EQ(TakeId("b"), 3u);
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

TEST_F(SchedulerTest, FlushDoesNotEndTheOperatorsSuspension) {
  AddDeferred(1, absl::Hours(1));
  At("a")->Suspend(MonoTime::Infinite(), "operator");
  scheduler_->FlushAll(Now());
  EXPECT_THAT(Woken(), IsEmpty());
  EXPECT_EQ(TakeId(), 0u);
  At("a")->Resume();
  EXPECT_THAT(Woken(), ElementsAre("a"));
  EXPECT_EQ(TakeId(), 1u);
}

// --- Bounds ------------------------------------------------------------------------

TEST_F(SchedulerTest, FlushMovesABoundedNumberAtOnceAndAdvanceTheOthers) {
  const size_t jobs = 2 * Scheduler::kAdvanceJobsMax + 10;
  for (uint64_t id = 1; id <= jobs; ++id) AddDeferred(id, absl::Hours(1));
  scheduler_->FlushAll(Now());
  EXPECT_EQ(scheduler_->counts().ready, Scheduler::kAdvanceJobsMax);
  EXPECT_LE(scheduler_->NextWake(), Now());
  scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts().ready, 2 * Scheduler::kAdvanceJobsMax);
  scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts().ready, jobs);
  EXPECT_TRUE(scheduler_->NextWake().infinite());
}

TEST_F(SchedulerTest, JobsOfAnUnfinishedFlushMayBeHeldRemovedAndMadeReady) {
  const size_t jobs = Scheduler::kAdvanceJobsMax + 10;
  std::vector<Job*> all;
  for (uint64_t id = 1; id <= jobs; ++id) {
    all.push_back(AddDeferred(id, absl::Seconds(static_cast<int64_t>(id))));
  }
  scheduler_->FlushAll(Now());
  scheduler_->Hold(all[jobs - 1]);
  scheduler_->Remove(all[jobs - 2]);
  scheduler_->MakeReady(all[jobs - 3], Now());
  scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = jobs - 2, .held = 1}));
}

TEST_F(SchedulerTest, WhatIsDeferredDuringAFlushWaitsUnlessItIsFlushedAgain) {
  const size_t jobs = Scheduler::kAdvanceJobsMax + 10;
  for (uint64_t id = 1; id <= jobs; ++id) AddDeferred(id, absl::Hours(1));
  scheduler_->FlushAll(Now());
  scheduler_->Defer(Take(), In(absl::Hours(2)));
  scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts().deferred, 1u);
  EXPECT_EQ(scheduler_->NextWake(), In(absl::Hours(2)));

  scheduler_->Defer(Take(), In(absl::Hours(2)));
  scheduler_->FlushAll(Now());
  EXPECT_EQ(scheduler_->counts().deferred, 0u);
  // Two flushes, the second before the first is through.
  for (uint64_t id = 1; id <= jobs; ++id) AddDeferred(jobs + id, absl::Hours(1));
  scheduler_->FlushAll(Now());
  scheduler_->Defer(Take(), In(absl::Hours(2)));
  scheduler_->FlushAll(Now());
  while (!scheduler_->NextWake().infinite()) scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts().deferred, 0u);
}

TEST_F(SchedulerTest, ASweepSeesEveryJobOfAChangingQueueOnceARound) {
  std::map<Job*, int> seen;
  for (uint64_t id = 1; id <= 1000; ++id) seen[AddDeferred(id, absl::Hours(1))] = 0;
  size_t cursor = 0;
  bool more = true;
  uint64_t id = 1;
  while (more) {
    more = scheduler_->Sweep(&cursor, 10, [&](Job* job) {
      if (seen.contains(job)) ++seen[job];
    });
    // Some go and others take their room meanwhile.
    Job* const gone = scheduler_->Find({id++});
    if (gone != nullptr && seen[gone] == 1) {
      seen.erase(gone);
      scheduler_->Remove(gone);
      AddReady(5000 + id);
    }
  }
  for (const auto& [job, times] : seen) EXPECT_EQ(times, 1) << job->id.value;
  EXPECT_EQ(cursor, 0u);
}

TEST_F(SchedulerTest, AJobMayBeTakenAsideThoughItsNexthopIsSuspended) {
  AddReady(1);
  Job* const job = AddReady(2);
  At("a")->Suspend(In(absl::Hours(1)), "dead");
  scheduler_->TakeAside(job);
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = 1, .in_flight = 1}));
  scheduler_->Release(job, Now());
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = 2}));
  scheduler_->TakeAside(job);
  scheduler_->Finish(job);
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = 1}));
}

TEST_F(SchedulerTest, AdvanceMovesABoundedNumberAtOnce) {
  const size_t jobs = Scheduler::kAdvanceJobsMax + 10;
  for (uint64_t id = 1; id <= jobs; ++id) AddDeferred(id, absl::Seconds(1));
  Pass(absl::Seconds(1));
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = Scheduler::kAdvanceJobsMax, .deferred = 10}));
  EXPECT_LE(scheduler_->NextWake(), Now());
  scheduler_->Advance(Now());
  EXPECT_EQ(scheduler_->counts(), (Counts{.ready = jobs}));
}

TEST_F(SchedulerTest, IdleNexthopIsRememberedForAWhile) {
  AddReady(1, "dead");
  while (!At("dead")->SessionFailed()) {
  }
  At("dead")->Suspend(In(absl::Seconds(300)), "connection refused");
  scheduler_->Remove(scheduler_->Find({1}));
  Pass(absl::Seconds(100));
  AddReady(2, "dead");
  EXPECT_EQ(TakeId("dead"), 0u);
  EXPECT_EQ(At("dead")->suspend_reason(), "connection refused");
}

TEST_F(SchedulerTest, OnlyTheIdleLongestAreForgotten) {
  AddReady(1, "busy");
  AddReady(2, "pinned");
  At("pinned")->Pin();
  scheduler_->Finish(Take("pinned"));
  scheduler_->Nexthop("closed by the operator")->Suspend(MonoTime::Infinite(), "operator");
  scheduler_->Nexthop("suspended")->Suspend(In(absl::Seconds(1)), "connection refused");
  for (size_t i = 0; i < Scheduler::kIdleNexthopsMax; ++i) {
    scheduler_->Finish((AddReady(10 + i, std::to_string(i)), Take(std::to_string(i))));
  }
  EXPECT_EQ(scheduler_->nexthops(), Scheduler::kIdleNexthopsMax + 3);
  EXPECT_NE(At("busy"), nullptr);
  EXPECT_NE(At("pinned"), nullptr);
  EXPECT_NE(At("closed by the operator"), nullptr);
  EXPECT_EQ(At("suspended"), nullptr);
  EXPECT_NE(At("0"), nullptr);
  EXPECT_TRUE(scheduler_->NextWake().infinite());  // Its timer went with it.
  // A use makes it young again; the pin gone, it is the youngest.
  scheduler_->Finish((AddReady(5, "0"), Take("0")));
  At("pinned")->Unpin();
  EXPECT_EQ(At("1"), nullptr);
  EXPECT_NE(At("0"), nullptr);
  EXPECT_NE(At("pinned"), nullptr);
}

TEST_F(SchedulerTest, NexthopOfAPendingNoticeIsNotForgotten) {
  // The first call-back ends the other nexthop's job and floods the idle list.
  scheduler_->set_on_ready([&](NexthopQueue* nexthop) {
    if (nexthop->name() != "a") return;
    scheduler_->Remove(scheduler_->Find({2}));
    for (size_t i = 0; i <= Scheduler::kIdleNexthopsMax; ++i)
      scheduler_->Nexthop(std::to_string(i));
    EXPECT_NE(At("b"), nullptr);
  });
  AddDeferred(1, absl::Seconds(1), "a");
  AddDeferred(2, absl::Seconds(1), "b");
  Pass(absl::Seconds(1));
  EXPECT_EQ(At("b")->jobs(), 0u);
}

TEST_F(SchedulerTest, AMillionJobsCostAtMost150OctetsEach) {
  const size_t jobs = 1'000'000;
  for (uint64_t id = 1; id <= jobs; ++id) {
    AddDeferred(id, absl::Seconds(static_cast<int64_t>(id * 7919 % 4000 + 1)));
  }
  EXPECT_LE(scheduler_->octets(), jobs * 150);
  RecordProperty("octets_per_job", std::to_string(scheduler_->octets() / jobs));
  // Room is used again.
  const size_t octets = scheduler_->octets();
  for (uint64_t id = 1; id <= 1000; ++id) scheduler_->Remove(scheduler_->Find({id}));
  for (uint64_t id = 1; id <= 1000; ++id) AddReady(id);
  EXPECT_EQ(scheduler_->octets(), octets);
}

// --- Everything at once ------------------------------------------------------------

// Random operations against a plain list of states: nothing is lost, doubled or taken
// out of turn, and the counts stay true.
TEST_F(SchedulerTest, AgreesWithAListUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    Start({.rate_delay = seed % 3 == 0 ? absl::Milliseconds(5) : absl::ZeroDuration()});
    std::map<Job*, Job::State> model;
    const auto pick = [&](Job::State state) -> Job* {
      std::vector<Job*> fits;
      for (const auto& [job, its] : model) {
        if (its == state) fits.push_back(job);
      }
      return fits.empty() ? nullptr : fits[random.Below(fits.size())];
    };
    for (int step = 0; step < 3'000; ++step) {
      const std::string nexthop(1, static_cast<char>('a' + random.Below(4)));
      const MonoTime due = In(absl::Milliseconds(static_cast<int64_t>(random.Below(40)) - 10));
      const auto later = [&] { return due <= Now() ? Job::State::kReady : Job::State::kDeferred; };
      switch (random.Below(10)) {
        case 0:
        case 1: {
          const QueueId id{random.Below(50) + 1};
          const std::string tenant(random.Below(3), 't');
          model[scheduler_->Add(id, nexthop, nullptr, 1, static_cast<uint8_t>(random.Below(3)), due,
                                Now(), false, tenant)] = later();
          break;
        }
        case 2:
        case 3:
          if (At(nexthop) == nullptr) break;
          if (Job* const job = Take(nexthop)) {
            ASSERT_EQ(model.at(job), Job::State::kReady);
            model[job] = Job::State::kInFlight;
          }
          break;
        case 4:
          if (Job* const job = pick(Job::State::kInFlight)) {
            scheduler_->Finish(job);
            model.erase(job);
          }
          break;
        case 5:
          if (Job* const job = pick(Job::State::kInFlight)) {
            scheduler_->Defer(job, due);
            model[job] = Job::State::kDeferred;
          }
          break;
        case 6:
          if (Job* const job = pick(Job::State::kInFlight)) {
            scheduler_->Release(job, Now());
            model[job] = Job::State::kReady;
          }
          break;
        case 7:
          if (Job* const job = pick(random.Below(2) ? Job::State::kReady : Job::State::kDeferred)) {
            scheduler_->Hold(job);
            model[job] = Job::State::kHeld;
          }
          break;
        case 8:
          if (Job* const job = pick(Job::State::kHeld)) {
            scheduler_->Unhold(job, Now());
            model[job] = Job::State::kReady;
          }
          break;
        case 9:
          if (At(nexthop) != nullptr && random.Below(4) == 0) {
            At(nexthop)->Suspend(due, "test");
          }
          Pass(absl::Milliseconds(static_cast<int64_t>(random.Below(10))));
          for (auto& [job, state] : model) {
            if (state == Job::State::kDeferred && job->due <= Now()) state = Job::State::kReady;
          }
          break;
      }
      Counts counts;
      for (const auto& [job, state] : model) {
        ASSERT_EQ(job->state, state);
        (state == Job::State::kReady      ? counts.ready
         : state == Job::State::kDeferred ? counts.deferred
         : state == Job::State::kHeld     ? counts.held
                                          : counts.in_flight)++;
      }
      ASSERT_EQ(scheduler_->counts(), counts);
    }
    size_t seen = 0;
    scheduler_->ForEach([&](const Job&) { ++seen; });
    EXPECT_EQ(seen, model.size());
  }
}

// An engine that acts on on_ready and NextWake alone, never polling, delivers everything:
// no wake-up is missing, and none comes for nothing without end.
TEST_F(SchedulerTest, NoWakeUpIsMissing) {
  for (const absl::Duration rate_delay : {absl::ZeroDuration(), absl::Seconds(2)}) {
    SeededRandom random(3);
    Start({.rate_delay = rate_delay});
    size_t delivered = 0;
    scheduler_->set_on_ready([&](NexthopQueue* nexthop) {
      while (Job* const job = nexthop->Take(Now())) {
        if (random.Below(4) == 0) {
          scheduler_->Defer(job, In(absl::Seconds(static_cast<int64_t>(random.Below(20)))));
        } else {
          scheduler_->Finish(job);
          ++delivered;
        }
        if (random.Below(10) == 0) {
          nexthop->Suspend(In(absl::Seconds(static_cast<int64_t>(random.Below(50)) + 1)), "test");
        }
      }
    });
    for (uint64_t id = 1; id <= 500; ++id) AddReady(id, std::string(1, "abc"[id % 3]));
    int turns = 0;
    while (!scheduler_->NextWake().infinite()) {
      ASSERT_LT(++turns, 10'000);
      clock_.AdvanceTo(scheduler_->NextWake());
      scheduler_->Advance(Now());
    }
    EXPECT_EQ(delivered, 500u);
    EXPECT_EQ(scheduler_->counts(), Counts{});
  }
}

}  // namespace
}  // namespace mailrace::queue
