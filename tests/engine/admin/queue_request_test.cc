// Which messages a request means, and that one which is not understood means none.
#include "engine/admin/queue_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

QueueRequest Parsed(std::string_view json) {
  absl::StatusOr<QueueRequest> request = ParseQueueRequest(json);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *std::move(request) : QueueRequest();
}

std::string Refusal(std::string_view json) {
  const absl::StatusOr<QueueRequest> request = ParseQueueRequest(json);
  EXPECT_FALSE(request.ok()) << json;
  return std::string(request.status().message());
}

queue::RecoveredMessage Message() {
  queue::RecoveredMessage message;
  message.envelope.id = QueueId{0x123};
  message.envelope.arrival = kNow - absl::Hours(1);
  message.envelope.reverse_path = "Sender@Example.com";
  message.envelope.priority = 2;
  message.envelope.tenant = "shop";
  message.envelope.recipients = {{"a@one.test", "", 0}, {"b@two.test", "", 0}};
  return message;
}

bool Fits(std::string_view selectors) {
  return Parsed(R"({"command":"hold",)" + std::string(selectors) + "}")
      .selector.FitsMessage(Message(), kNow);
}

TEST(QueueRequestTest, EverySelectorPicksByItsOwnFact) {
  EXPECT_TRUE(Fits(R"("sender":"sender@example.COM")"));
  EXPECT_TRUE(Fits(R"("sender":"@example.com")"));
  EXPECT_FALSE(Fits(R"("sender":"@ample.com")"));
  EXPECT_FALSE(Fits(R"("sender":"<>")"));
  EXPECT_TRUE(Fits(R"("recipient":"b@two.test")"));
  EXPECT_TRUE(Fits(R"("recipient":"@one.test")"));
  EXPECT_FALSE(Fits(R"("recipient":"@three.test")"));
  EXPECT_TRUE(Fits(R"("class":"bulk")"));
  EXPECT_FALSE(Fits(R"("class":"urgent")"));
  EXPECT_TRUE(Fits(R"("tenant":"shop")"));
  EXPECT_TRUE(Fits(R"("tenant":"Shop")"));
  EXPECT_FALSE(Fits(R"("tenant":"shops")"));
  EXPECT_TRUE(Fits(R"("older_than":3600)"));
  EXPECT_FALSE(Fits(R"("older_than":3601)"));
  EXPECT_TRUE(Fits(R"("younger_than":3601)"));
  EXPECT_FALSE(Fits(R"("younger_than":3600)"));
  EXPECT_TRUE(Fits(R"("ids":["000000000000123","5"])"));
  EXPECT_FALSE(Fits(R"("ids":["5"])"));
  EXPECT_TRUE(Fits(R"("all":true)"));
}

TEST(QueueRequestTest, SelectorsNarrowEachOther) {
  EXPECT_TRUE(Fits(R"("class":"bulk","tenant":"shop")"));
  EXPECT_FALSE(Fits(R"("class":"bulk","tenant":"bank")"));
  EXPECT_FALSE(Fits(R"("all":true,"tenant":"bank")"));
}

TEST(QueueRequestTest, ARecipientWhoIsDoneIsNotMeantAnyMore) {
  queue::RecoveredMessage message = Message();
  message.done_indices = {1};
  const auto by_recipient = [&](const char* who) {
    return Parsed(std::string(R"({"command":"hold","recipient":")") + who + "\"}")
        .selector.FitsMessage(message, kNow);
  };
  EXPECT_TRUE(by_recipient("a@one.test"));
  EXPECT_FALSE(by_recipient("b@two.test"));
}

TEST(QueueRequestTest, NexthopAndStateMustFitOneJobTogether) {
  JobFacts held;
  held.nexthop = "one.test";
  held.state = JobFacts::State::kHeld;
  JobFacts active;
  active.nexthop = "two.test";
  active.state = JobFacts::State::kActive;
  const auto fits = [&](std::string_view selectors) {
    return Parsed(R"({"command":"hold",)" + std::string(selectors) + "}")
        .selector.FitsJobs({held, active});
  };
  EXPECT_TRUE(fits(R"("nexthop":"ONE.test","state":"hold")"));
  EXPECT_TRUE(fits(R"("nexthop":"two.test","state":"active")"));
  EXPECT_FALSE(fits(R"("nexthop":"two.test","state":"hold")"));
  EXPECT_FALSE(fits(R"("state":"deferred")"));
  EXPECT_TRUE(fits(R"("all":true)"));
}

TEST(QueueRequestTest, WhatIsNotUnderstoodIsRefusedByName) {
  EXPECT_THAT(Refusal("hold everything"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(R"({"command":7})"), HasSubstr("not a JSON object"));
  EXPECT_THAT(Refusal(R"({"command":"erase"})"), HasSubstr("unknown command 'erase'"));
  EXPECT_THAT(Refusal(R"({"command":"remove","all":true,"sendr":"x"})"), HasSubstr("\"sendr\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","sender":7})"), HasSubstr("\"sender\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","sender":null})"), HasSubstr("\"sender\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","sender":""})"), HasSubstr("\"sender\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","all":"yes"})"), HasSubstr("\"all\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","ids":"A1"})"), HasSubstr("\"ids\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","ids":["xyz"]})"), HasSubstr("'xyz'"));
  EXPECT_THAT(Refusal(R"({"command":"remove","class":"slow"})"), HasSubstr("\"class\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","state":"lost"})"), HasSubstr("\"state\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","older_than":-1})"), HasSubstr("\"older_than\""));
  EXPECT_THAT(Refusal(R"({"command":"remove","older_than":"1h"})"), HasSubstr("\"older_than\""));
}

TEST(QueueRequestTest, WhatChangesMailNeedsToBeToldWhich) {
  for (const char* verb : {"hold", "release", "remove", "bounce", "export"}) {
    const std::string request = std::string(R"({"command":")") + verb + "\"}";
    EXPECT_THAT(Refusal(request), HasSubstr("which messages?")) << verb;
  }
  EXPECT_THAT(Refusal(R"({"command":"remove","all":false})"), HasSubstr("which messages?"));
  EXPECT_THAT(Refusal(R"({"command":"remove","ids":[]})"), HasSubstr("which messages?"));
  EXPECT_THAT(Refusal(R"({"command":"show","all":true})"), HasSubstr("which message?"));
  EXPECT_THAT(Refusal(R"({"command":"suspend","all":true})"), HasSubstr("which destination?"));
  EXPECT_TRUE(Parsed(R"({"command":"list"})").selector.all);
  EXPECT_TRUE(Parsed(R"({"command":"flush"})").selector.all);
}

TEST(QueueRequestTest, IdsComeOnceAndInOrder) {
  EXPECT_THAT(Parsed(R"({"command":"show","ids":["B","A","B"]})").selector.ids,
              ElementsAre(QueueId{0xA}, QueueId{0xB}));
}

TEST(QueueRequestTest, AReasonBecomesOnePrintableLine) {
  const QueueRequest request =
      Parsed(R"({"command":"bounce","all":true,"reason":"wrong\r\nlist"})");
  EXPECT_EQ(request.reason.find_first_of("\r\n"), std::string::npos);
  EXPECT_EQ(request.operation(), Operation::Kind::kBounce);
}

}  // namespace
}  // namespace mailrace::engine
