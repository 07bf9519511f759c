// Tenants of one class at one nexthop: who is taken next.
#include "queue/fair_line.h"

#include <map>
#include <string>

#include "base/random.h"
#include "gmock/gmock.h"
#include "scheduler_fixture.h"

namespace mailrace::queue {
namespace {

class FairLineTest : public SchedulerFixture {
 protected:
  // The next tenants, by the first letter of their names; "-" for none.
  std::string TakeTenants(int takes) {
    std::string order;
    for (int i = 0; i < takes; ++i) {
      Job* const job = Take();
      const std::string& name = scheduler_->tenants().name(job->tenant);
      order += name.empty() ? '-' : name.front();
      scheduler_->Finish(job);
    }
    return order;
  }
  void AddMany(std::string_view tenant, int jobs, uint32_t recipients = 1, uint8_t priority = 1) {
    for (int i = 0; i < jobs; ++i) AddFor(++ids_, tenant, recipients, priority);
  }
  void SetWeights(std::map<std::string, uint32_t, std::less<>> weights) {
    scheduler_->set_tenant_weights([weights = std::move(weights)](std::string_view tenant) {
      const auto found = weights.find(tenant);
      return found == weights.end() ? 1 : found->second;
    });
  }
  uint64_t ids_ = 0;
};

TEST_F(FairLineTest, EqualTenantsTakeTurnsHoweverMuchEachHas) {
  AddMany("acme", 1000);
  AddMany("bolt", 5);
  EXPECT_EQ(TakeTenants(12),
            "ababababab"
            "aa");
}

TEST_F(FairLineTest, TakesAreSharedByWeight) {
  SetWeights({{"acme", 3}});
  AddMany("acme", 100);
  AddMany("bolt", 100);
  EXPECT_EQ(TakeTenants(12), "abaaabaaabaa");
}

TEST_F(FairLineTest, CostIsCountedInRecipients) {
  AddMany("acme", 10, 10);
  AddMany("bolt", 100, 1);
  // Ten recipients for ten.
  EXPECT_EQ(TakeTenants(23), "abbbbbbbbbbabbbbbbbbbba");
}

TEST_F(FairLineTest, MailWithoutATenantIsOneOfThem) {
  AddMany("", 50);
  AddMany("acme", 50);
  EXPECT_EQ(TakeTenants(6), "-a-a-a");
}

TEST_F(FairLineTest, ATenantsOwnMailKeepsItsOrder) {
  for (uint64_t id : {1, 2, 3}) AddFor(id, "acme");
  for (uint64_t id : {11, 12, 13}) AddFor(id, "bolt");
  for (uint64_t id : {1, 11, 2, 12, 3, 13}) EXPECT_EQ(TakeId(), id);
}

TEST_F(FairLineTest, AbsenceSavesUpNothing) {
  AddMany("acme", 100);
  AddMany("bolt", 1);
  TakeTenants(50);
  AddMany("bolt", 20);
  EXPECT_EQ(TakeTenants(6), "bababa");
}

TEST_F(FairLineTest, OneAtATimeGetsNoMoreThanItsShare) {
  // It comes back the moment it was served: as if it had waited all the time.
  SetWeights({{"acme", 3}});
  AddMany("acme", 100);
  AddMany("bolt", 1);
  std::map<char, int> taken;
  for (int i = 0; i < 40; ++i) {
    const char tenant = TakeTenants(1).front();
    ++taken[tenant];
    if (tenant == 'b') AddMany("bolt", 1);
  }
  EXPECT_EQ(taken['a'], 30);
}

TEST_F(FairLineTest, WhatComesBackUndoneWasNotCharged) {
  AddMany("acme", 20);
  AddMany("bolt", 20);
  // Each of acme's is taken, has to be read from the disk, and is taken again.
  std::string order;
  for (int i = 0; i < 12; ++i) {
    Job* job = Take();
    if (scheduler_->tenants().name(job->tenant) == "acme") {
      scheduler_->Release(job, Now());
      ASSERT_EQ(Take(), job);
      order += 'a';
    } else {
      order += 'b';
    }
    scheduler_->Finish(job);
  }
  EXPECT_EQ(order, "abababababab");
}

TEST_F(FairLineTest, ReleasingAgainAndAgainStarvesNobody) {
  AddMany("acme", 1);
  AddMany("bolt", 100);
  for (int i = 0; i < 100; ++i) {
    Job* const job = Take();
    if (scheduler_->tenants().name(job->tenant) == "acme") {
      // It is never ready to be sent: the others must get on meanwhile.
      Job* const other = Take();
      ASSERT_EQ(scheduler_->tenants().name(other->tenant), "bolt");
      scheduler_->Release(job, Now());
      scheduler_->Finish(other);
    } else {
      scheduler_->Finish(job);
    }
  }
  EXPECT_LE(scheduler_->counts().ready, 51u);
}

TEST_F(FairLineTest, ClassesComeBeforeTenants) {
  AddMany("acme", 5, 1, 2);
  AddMany("bolt", 5, 1, 0);
  EXPECT_EQ(TakeTenants(10), "bbbbbaaaaa");
}

TEST_F(FairLineTest, NewWeightsCountFromNowOn) {
  AddMany("acme", 200);
  AddMany("bolt", 200);
  EXPECT_EQ(TakeTenants(4), "abab");
  SetWeights({{"bolt", 4}});
  const std::string order = TakeTenants(50);
  EXPECT_EQ(std::count(order.begin(), order.end(), 'b'), 40);
}

TEST_F(FairLineTest, WeightsAreKeptWithinTheirBounds) {
  SetWeights({{"acme", 0}, {"bolt", 1'000'000}});
  AddMany("acme", 1);
  AddMany("bolt", 1);
  EXPECT_EQ(scheduler_->tenants().weight(At("a")->Take(Now())->tenant), 1u);
  EXPECT_EQ(scheduler_->tenants().weight(At("a")->Take(Now())->tenant), kTenantWeightMax);
}

TEST_F(FairLineTest, NothingIsKeptOfTenantsWithoutJobs) {
  for (int i = 0; i < 1000; ++i) AddMany("tenant" + std::to_string(i), 2);
  EXPECT_EQ(scheduler_->tenants().known(), 1000u);
  while (Job* const job = Take()) scheduler_->Finish(job);
  EXPECT_EQ(scheduler_->tenants().known(), 0u);
  // Nor while others go on: virtual time passes those that went away.
  AddMany("acme", 100);
  for (int i = 0; i < 50; ++i) {
    AddMany("gone" + std::to_string(i), 1);
    TakeTenants(3);
    EXPECT_LE(scheduler_->tenants().known(), 4u);
  }
}

TEST_F(FairLineTest, DeferredAndHeldJobsKeepTheirTenant) {
  Job* const job =
      scheduler_->Add({1}, "a", nullptr, 1, 1, In(absl::Hours(1)), Now(), false, "acme");
  AddMany("bolt", 3);
  TakeTenants(3);
  EXPECT_EQ(scheduler_->tenants().name(job->tenant), "acme");
  scheduler_->Hold(job);
  EXPECT_EQ(scheduler_->tenants().name(job->tenant), "acme");
  scheduler_->Remove(job);
  EXPECT_EQ(scheduler_->tenants().known(), 0u);
}

TEST_F(FairLineTest, TenantsBeyondTheLimitShareOneLine) {
  for (size_t i = 0; i < Tenants::kTenantsMax; ++i) AddMany("t" + std::to_string(i), 1);
  EXPECT_EQ(AddFor(++ids_, "late")->tenant, Tenants::kOthers);
  EXPECT_EQ(AddFor(++ids_, "later")->tenant, Tenants::kOthers);
  EXPECT_EQ(scheduler_->tenants().known(), Tenants::kTenantsMax);
  // When there is room again, a name is known again.
  while (Job* const job = Take()) scheduler_->Finish(job);
  EXPECT_EQ(scheduler_->tenants().name(AddFor(++ids_, "late")->tenant), "late");
}

// The stated fairness: of any two tenants that always had work, services divided by
// weights differ by at most one job of each.
TEST_F(FairLineTest, SharesStayWithinOneJobOfEach) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    Start({});
    std::map<std::string, uint32_t, std::less<>> weights;
    const size_t tenants = 2 + random.Below(6);
    for (size_t i = 0; i < tenants; ++i) {
      weights[std::string(1, static_cast<char>('a' + i))] =
          static_cast<uint32_t>(1 + random.Below(9));
    }
    SetWeights(weights);
    const uint32_t recipients_max = 50;
    const auto add = [&](const std::string& tenant) {
      AddMany(tenant, 1, static_cast<uint32_t>(1 + random.Below(recipients_max)));
    };
    for (const auto& [tenant, weight] : weights) add(tenant);
    std::map<std::string, double> served;
    for (int i = 0; i < 2000; ++i) {
      // Always one more waits than is taken.
      for (const auto& [tenant, weight] : weights) {
        if (random.Below(tenants) == 0) add(tenant);
      }
      Job* const job = Take();
      const std::string tenant = scheduler_->tenants().name(job->tenant);
      served[tenant] += static_cast<double>(job->recipients) / weights[tenant];
      scheduler_->Finish(job);
      add(tenant);
      for (const auto& [a, of_a] : served) {
        for (const auto& [b, of_b] : served) {
          ASSERT_LE(of_a - of_b, 1e-3 + static_cast<double>(recipients_max) / weights[a] +
                                     static_cast<double>(recipients_max) / weights[b]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mailrace::queue
