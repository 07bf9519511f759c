// What a message is, and what its jobs are, after memory let go of it: a job is made again
// from the store, and nobody must see a difference.
#include "engine/recovered_job.h"

#include <tuple>

#include "engine/parking.h"
#include "fmt/format.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::SizeIs;

// A field more does not compile here until somebody said that it comes back.
auto Fields(const RecoveredJob& job) {
  const auto& [id, nexthop, recipients, priority, tenant, held, tried, next_attempt] = job;
  return std::tie(id, nexthop, recipients, priority, tenant, held, tried, next_attempt);
}

auto Fields(const queue::Recipient& recipient) {
  const auto& [address, orcpt, notify] = recipient;
  return std::tie(address, orcpt, notify);
}

auto Fields(const queue::RetryState& retry) {
  const auto& [attempts, next_attempt, delay_warning_sent, held, last_reason, history] = retry;
  return std::tie(attempts, next_attempt, delay_warning_sent, held, last_reason, history);
}

auto Fields(const queue::Envelope& envelope) {
  const auto& [id, arrival, reverse_path, envid, ret, smtputf8, eight_bit, octets, chunks,
               message_id, submitter, priority, tenant, recipients] = envelope;
  std::vector<std::tuple<std::string, std::string, uint8_t>> each;
  for (const queue::Recipient& recipient : recipients) each.push_back(Fields(recipient));
  return std::tuple(id, arrival, reverse_path, envid, ret, smtputf8, eight_bit, octets, chunks,
                    message_id, submitter, priority, tenant, each);
}

// As an application's login, its DSN options and its headers make it: nothing left at its default.
queue::Envelope FullEnvelope() {
  queue::Envelope envelope;
  envelope.reverse_path = "sender@app.test";
  envelope.envid = "QQ314159";
  envelope.ret = queue::Ret::kHeaders;
  envelope.smtputf8 = true;
  envelope.eight_bit = true;
  envelope.message_id = "<m1@app.test>";
  envelope.submitter = "campaigns";
  envelope.priority = 2;
  envelope.tenant = "acme";
  envelope.recipients = {
      {"a@one.test", "rfc822;first@one.test", queue::kNotifySuccess | queue::kNotifyDelay},
      {"b@two.test", "rfc822;second@two.test", queue::kNotifyNever},
      {"c@one.test", "", queue::kNotifyFailure},
      {"d@three.test", "utf-8;\xc3\xbc@three.test", 0}};
  return envelope;
}

class ParkedFieldsTest : public DeliveryFixture {
 protected:
  ParkedFieldsTest() {
    settings_.jobs_max = 4;
    settings_.relayhost.clear();
    settings_.limits.initial_concurrency = 1;
    uint8_t last = 9;
    for (const char* name : {"one.test", "two.test", "three.test"}) {
      const SocketAddress relay{*IpAddress::Parse(fmt::format("192.0.2.{}", ++last)), 25};
      names_.emplace_back(name, relay);
    }
  }
  void StartWithRelays() {
    Start();
    for (const auto& [name, relay] : names_) {
      host_->resolver().Add(name, {relay.ip});
      ASSERT_TRUE(host_->relay().Listen(relay).ok());
    }
  }
  void RelaysDown(bool down) {
    for (const auto& [name, relay] : names_) host_->network().SetRefused(relay, down);
  }
  // Behind these everything is parked.
  void FillMemory() {
    for (const auto& [name, relay] : names_) {
      for (int i = 0; i < 10; ++i) Submit(To({"filler@" + name}));
    }
  }
  size_t JobsOf(QueueId id) {
    size_t jobs = 0;
    host_->shard().scheduler().ForEachOf(id, [&jobs](queue::Job*) { ++jobs; });
    return jobs;
  }
  queue::RecoveredMessage StoredOf(QueueId id) {
    const absl::StatusOr<queue::RecoveredMessage> found = store_.ReadMessage(id);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : queue::RecoveredMessage();
  }
  // What the parked jobs of a message are once they are in memory again.
  std::vector<RecoveredJob> JobsAfterParking(QueueId id) {
    std::vector<RecoveredJob> jobs;
    bool fetched = false;
    host_->shard().parking().Fetch(id, [&](const absl::Status&) {
      const queue::Scheduler& scheduler = host_->shard().scheduler();
      host_->shard().scheduler().ForEachOf(id, [&](queue::Job* job) {
        jobs.push_back({.id = job->id,
                        .nexthop = job->nexthop->name(),
                        .recipients = job->recipients,
                        .priority = job->priority,
                        .tenant = scheduler.tenants().name(job->tenant),
                        .held = job->state == queue::Job::State::kHeld});
      });
      fetched = true;
    });
    EXPECT_TRUE(host_->RunUntil([&fetched] { return fetched; }, absl::Seconds(10)));
    return jobs;
  }

  std::vector<std::pair<std::string, SocketAddress>> names_;
};

TEST_F(ParkedFieldsTest, AnEnvelopeComesBackFromTheStoreInAllItsFields) {
  StartWithRelays();
  RelaysDown(true);
  FillMemory();
  queue::Envelope envelope = FullEnvelope();
  const QueueId id = Submit(envelope);
  ASSERT_EQ(JobsOf(id), 0u) << "not parked";
  const queue::Envelope stored = StoredOf(id).envelope;
  envelope.id = id;
  envelope.arrival = stored.arrival;  // The host's, as are the next two.
  envelope.octets = stored.octets;
  envelope.chunks = 1;
  EXPECT_EQ(Fields(stored), Fields(envelope));
  EXPECT_GT(stored.arrival, start_ - absl::Seconds(1));
}

TEST_F(ParkedFieldsTest, JobsOfTheStoreAreThoseOfTheArrival) {
  StartWithRelays();
  RelaysDown(true);
  const QueueId id = Submit(FullEnvelope());
  queue::RecoveredMessage stored = StoredOf(id);
  stored.has_retry = false;
  std::vector<RecoveredJob> at_arrival;
  std::vector<RecoveredJob> of_store;
  AppendJobs(stored.envelope, settings_, &at_arrival);
  AppendJobs(stored, settings_, &of_store);
  ASSERT_THAT(of_store, SizeIs(3));
  ASSERT_THAT(at_arrival, SizeIs(3));
  for (size_t i = 0; i < of_store.size(); ++i) {
    EXPECT_EQ(Fields(of_store[i]), Fields(at_arrival[i]));
  }
  EXPECT_EQ(of_store[0].recipients, 2u);
}

TEST_F(ParkedFieldsTest, AJobThatWasParkedIsTheJobThatItWas) {
  StartWithRelays();
  RelaysDown(true);
  FillMemory();
  const QueueId id = Submit(FullEnvelope());
  ASSERT_EQ(JobsOf(id), 0u) << "not parked";
  std::vector<RecoveredJob> at_arrival;
  AppendJobs(StoredOf(id).envelope, settings_, &at_arrival);
  const std::vector<RecoveredJob> back = JobsAfterParking(id);
  ASSERT_THAT(back, SizeIs(3));
  for (size_t i = 0; i < back.size(); ++i) {
    RecoveredJob expected = at_arrival[i];
    expected.next_attempt = back[i].next_attempt;  // A due time, as jobs have it.
    EXPECT_EQ(Fields(back[i]), Fields(expected));
  }
}

// Some recipients are over, one is in doubt (an answer that never came), the message is
// held: parked and back, it owes the same recipients and knows the same of its attempts.
TEST_F(ParkedFieldsTest, WhatCameOfItsAttemptsIsKept) {
  StartWithRelays();
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kRcpt && argument.find("c@one.test") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "451 4.2.0 later", false};
    }
    if (step == Step::kRcpt && argument.find("two.test") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "550 5.1.1 no", false};
    }
    return std::nullopt;
  };
  queue::Envelope envelope = FullEnvelope();
  envelope.smtputf8 = envelope.eight_bit = false;  // The relays offer neither.
  envelope.recipients.pop_back();
  const QueueId id = Submit(envelope);
  host_->RunFor(absl::Seconds(30));
  const queue::RecoveredMessage before = StoredOf(id);
  ASSERT_THAT(before.done_indices, testing::ElementsAre(0, 1));
  ASSERT_EQ(before.retry.attempts, 1u);
  ASSERT_THAT(before.retry.history, SizeIs(1));
  RelaysDown(true);
  FillMemory();
  bool durable = false;
  host_->shard().operations().Operate(
      id, {Operation::Kind::kHold, ""}, [](OperationResult) {},
      [&durable](const absl::Status&) { durable = true; });
  ASSERT_TRUE(host_->RunUntil([&durable] { return durable; }, absl::Seconds(10)));
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(JobsOf(id), 0u) << "not parked";
  const std::vector<RecoveredJob> back = JobsAfterParking(id);
  ASSERT_THAT(back, SizeIs(1));
  EXPECT_TRUE(back[0].held);
  EXPECT_EQ(back[0].recipients, 1u);
  const queue::RecoveredMessage after = StoredOf(id);
  EXPECT_EQ(after.done_indices, before.done_indices);
  queue::RetryState retry = before.retry;
  retry.held = true;
  EXPECT_EQ(Fields(after.retry), Fields(retry));
}

// RFC 3461 5.2: a relay with DSN gets NOTIFY, ORCPT, RET and ENVID as they were given.
TEST_F(ParkedFieldsTest, DsnOptionsReachTheRelay) {
  StartWithRelays();
  host_->relay().set_keywords({"PIPELINING", "DSN", "SMTPUTF8", "8BITMIME"});
  std::vector<std::string> said;
  RelaysDown(true);
  FillMemory();
  const QueueId id = Submit(FullEnvelope());
  ASSERT_EQ(JobsOf(id), 0u) << "not parked";
  script_ = [&said](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kMail || step == Step::kRcpt) said.emplace_back(argument);
    return std::nullopt;
  };
  RelaysDown(false);
  host_->RunFor(absl::Hours(1));
  using testing::AllOf;
  using testing::Contains;
  using testing::HasSubstr;
  EXPECT_THAT(said, Contains(AllOf(HasSubstr("RET=HDRS"), HasSubstr("ENVID=QQ314159"))).Times(3));
  EXPECT_THAT(said, Contains(AllOf(HasSubstr("<a@one.test>"), HasSubstr("NOTIFY=SUCCESS,DELAY"),
                                   HasSubstr("ORCPT=rfc822;first@one.test"))));
  EXPECT_THAT(said, Contains(AllOf(HasSubstr("<b@two.test>"), HasSubstr("NOTIFY=NEVER"))));
  EXPECT_THAT(said, Contains(AllOf(HasSubstr("<c@one.test>"), HasSubstr("NOTIFY=FAILURE"))));
}

}  // namespace
}  // namespace mailrace::engine
