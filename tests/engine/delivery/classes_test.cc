// Which mail goes first: classes and tenants on their way to one relay.
#include <algorithm>

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class Classes : public DeliveryFixture {
 protected:
  // One session over a slow network, so that there is a queue and its order shows.
  Classes() {
    settings_.limits.initial_concurrency = 1;
    settings_.limits.concurrency_limit = 1;
  }
  void StartSlow() {
    Start();
    host_->network().set_faults({.latency_max = absl::Milliseconds(200)});
  }
  static queue::Envelope Bulk(const std::vector<std::string>& recipients) {
    queue::Envelope envelope = To(recipients);
    envelope.priority = 2;
    return envelope;
  }
  static queue::Envelope Urgent(const std::vector<std::string>& recipients) {
    queue::Envelope envelope = To(recipients);
    envelope.priority = 0;
    return envelope;
  }
  static queue::Envelope Of(const std::string& tenant) {
    queue::Envelope envelope = To({tenant + "@example.com"});
    envelope.tenant = tenant;
    return envelope;
  }
  bool WaitFor(size_t deliveries) {
    return host_->RunUntil([&] { return delivered() >= deliveries; }, absl::Minutes(10));
  }
  size_t PlaceOf(const std::string& recipient) {
    const std::vector<std::string> all = DeliveredTo();
    return static_cast<size_t>(std::find(all.begin(), all.end(), recipient) - all.begin());
  }
};

TEST_F(Classes, UrgentMailIsTheNextThatASessionTakes) {
  StartSlow();
  for (int i = 0; i < 50; ++i) Submit(Bulk({"bulk@example.com"}));
  ASSERT_TRUE(WaitFor(5));
  const size_t before = delivered();
  Submit(Urgent({"urgent@example.com"}));
  ASSERT_TRUE(WaitFor(50));
  // The one on the wire and the one whose envelope went out with its end come before it.
  EXPECT_LE(PlaceOf("urgent@example.com"), before + 2);
}

TEST_F(Classes, UrgentMailIsLetInBetweenTheTransactionsOfOneMessage) {
  settings_.limits.recipient_limit = 1;
  StartSlow();
  std::vector<std::string> many;
  for (int i = 0; i < 60; ++i) many.push_back("bulk" + std::to_string(i) + "@example.com");
  Submit(Bulk(many));
  ASSERT_TRUE(WaitFor(5));
  const size_t before = delivered();
  Submit(Urgent({"one@example.com", "two@example.com"}));
  ASSERT_TRUE(WaitFor(62));
  EXPECT_LE(PlaceOf("one@example.com"), before + 2);
  EXPECT_EQ(PlaceOf("two@example.com"), PlaceOf("one@example.com") + 1);
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 62u);
  EXPECT_THAT(Stored(), testing::IsEmpty());
  EXPECT_EQ(host_->network().connects(), 1u);
}

TEST_F(Classes, MailOfTheSameClassWaitsForTheWholeMessage) {
  settings_.limits.recipient_limit = 1;
  StartSlow();
  Submit(Bulk({"a@example.com", "b@example.com", "c@example.com", "d@example.com"}));
  ASSERT_TRUE(WaitFor(1));
  Submit(Bulk({"z@example.com"}));
  ASSERT_TRUE(WaitFor(5));
  EXPECT_EQ(PlaceOf("z@example.com"), 4u);
}

TEST_F(Classes, ASessionThatBreaksAmongSeveralMessagesLosesNone) {
  settings_.limits.recipient_limit = 1;
  Start();
  host_->network().set_faults({.latency_max = absl::Milliseconds(200)});
  Submit(Bulk({"a@example.com", "b@example.com", "c@example.com", "d@example.com"}));
  ASSERT_TRUE(WaitFor(1));
  Submit(Urgent({"u@example.com", "v@example.com"}));
  ASSERT_TRUE(WaitFor(3));
  host_->network().CutAll();
  host_->RunFor(absl::Hours(1));
  const std::vector<std::string> all = DeliveredTo();
  for (const char* name : {"a", "b", "c", "d", "u", "v"}) {
    EXPECT_GE(std::count(all.begin(), all.end(), std::string(name) + "@example.com"), 1) << name;
  }
  EXPECT_LE(all.size(), 6 + stats().uncertain.value());
  EXPECT_THAT(Stored(), testing::IsEmpty());
}

TEST_F(Classes, TenantsShareTheRelayByWeight) {
  settings_.tenant_weight = [](std::string_view tenant) { return tenant == "acme" ? 3u : 1u; };
  settings_.delivery_deferred = true;
  Start();
  for (int i = 0; i < 40; ++i) Submit(Of("acme"));
  for (int i = 0; i < 40; ++i) Submit(Of("bolt"));
  settings_.delivery_deferred = false;
  Reload();
  ASSERT_TRUE(WaitFor(80));
  const std::vector<std::string> all = DeliveredTo();
  for (const size_t taken : {8u, 20u, 40u}) {
    const auto acme = std::count(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(taken),
                                 "acme@example.com");
    EXPECT_NEAR(static_cast<double>(acme), 0.75 * static_cast<double>(taken), 1.0);
  }
}

TEST_F(Classes, ARestartKeepsClassAndTenant) {
  settings_.tenant_weight = [](std::string_view tenant) { return tenant == "acme" ? 3u : 1u; };
  settings_.delivery_deferred = true;
  Start();
  for (int i = 0; i < 10; ++i) Submit(Bulk({"bulk@example.com"}));
  for (int i = 0; i < 12; ++i) Submit(Of("bolt"));
  for (int i = 0; i < 12; ++i) Submit(Of("acme"));
  Submit(Urgent({"urgent@example.com"}));
  settings_.delivery_deferred = false;
  Restart();
  ASSERT_TRUE(WaitFor(35));
  const std::vector<std::string> all = DeliveredTo();
  // Nothing is in memory after a restart: all were asked for at once, in this order.
  EXPECT_LE(PlaceOf("urgent@example.com"), 1u);
  EXPECT_GE(PlaceOf("bulk@example.com"), 8u);
  const auto acme = std::count(all.begin(), all.begin() + 13, "acme@example.com");
  EXPECT_GE(acme, 8);
}

TEST_F(Classes, NoticesAreOfTheTenantAndNoMoreUrgentThanTheirMessage) {
  Start();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kRcpt && argument.find("bad") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "550 5.1.1 no such user"};
    }
    // The notices stay in the queue, so that they can be looked at.
    if (step == Step::kMail && argument.find("<>") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "451 4.3.0 later"};
    }
    return std::nullopt;
  };
  for (const uint8_t priority : {0, 1, 2}) {
    queue::Envelope envelope = To({"bad@example.com"});
    envelope.priority = priority;
    envelope.tenant = "acme";
    Submit(std::move(envelope));
  }
  host_->RunFor(absl::Seconds(10));
  std::vector<int> priorities;
  for (const queue::RecoveredMessage& notice : Stored()) {
    EXPECT_EQ(notice.envelope.reverse_path, "");
    EXPECT_EQ(notice.envelope.tenant, "acme");
    priorities.push_back(notice.envelope.priority);
  }
  EXPECT_THAT(priorities, testing::UnorderedElementsAre(1, 1, 2));
}

TEST_F(Classes, StatisticsAreKeptForEachClass) {
  Start();
  Submit(Urgent({"a@example.com", "b@example.com"}));
  for (int i = 0; i < 3; ++i) Submit(Bulk({"c@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(stats().of_class[0].accepted_messages.value(), 1u);
  EXPECT_EQ(stats().of_class[0].delivered.value(), 2u);
  EXPECT_EQ(stats().of_class[0].queue_time.count(), 1u);
  EXPECT_EQ(stats().of_class[1].delivery_time.count(), 0u);
  EXPECT_EQ(stats().of_class[2].delivery_time.count(), 3u);
}

TEST_F(Classes, WithoutARecipientLimitAMessageIsOneTransaction) {
  settings_.limits.recipient_limit = 0;
  Start();
  std::vector<std::string> many;
  for (int i = 0; i < 99; ++i) many.push_back("user" + std::to_string(i) + "@example.com");
  Submit(To(many));
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 1u);
  EXPECT_THAT(book_.deliveries[0].recipients, SizeIs(99));
}

}  // namespace
}  // namespace mailrace::engine
