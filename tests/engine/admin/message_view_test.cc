// What list and show say of a message: postqueue's names, and why it waits until when.
#include "engine/admin/message_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace mailrace::engine {
namespace {

using Json = nlohmann::json;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

MessageView View() {
  MessageView view;
  queue::Envelope& envelope = view.message.envelope;
  envelope.id = QueueId{0x123};
  envelope.arrival = kNow - absl::Hours(1);
  envelope.octets = 1234;
  envelope.reverse_path = "app@example.com";
  envelope.recipients = {{"a@one.test", "", 0}, {"b@two.test", "", 0}, {"c@one.test", "", 0}};
  view.message.done_indices = {2};
  view.message.done_finals = {queue::Final::kDelivered};
  view.message.has_retry = true;
  view.message.retry.attempts = 25;
  view.message.retry.last_reason = "host one.test[192.0.2.1] said: 451 later";
  for (int i = 0; i < 25; ++i) {
    view.message.retry.Note({kNow - absl::Minutes(50 - i),
                             absl::Milliseconds(1500),
                             {4, 3, 0},
                             "one.test[192.0.2.1]:25",
                             "host one.test[192.0.2.1] said: 451 later"});
  }
  JobFacts one;
  one.nexthop = "one.test";
  one.due_in = absl::Seconds(90);
  JobFacts two;
  two.nexthop = "two.test";
  two.suspended_by_operator = true;
  two.waits_for = "maintenance";
  two.due_in = absl::InfiniteDuration();
  view.jobs = {one, two};
  view.job_of = {0, 1, 0};
  return view;
}

TEST(MessageViewTest, ListUsesPostqueuesNames) {
  const Json json = ListJson(View(), kNow);
  EXPECT_EQ(json["queue_name"], "deferred");
  EXPECT_EQ(json["queue_id"], "000000000000123");
  EXPECT_EQ(json["arrival_time"], absl::ToUnixSeconds(kNow) - 3600);
  EXPECT_EQ(json["message_size"], 1234);
  EXPECT_EQ(json["forced_expire"], false);
  EXPECT_EQ(json["sender"], "app@example.com");
  ASSERT_EQ(json["recipients"].size(), 2u);  // Those who are still owed.
  EXPECT_EQ(json["recipients"][0]["address"], "a@one.test");
  EXPECT_EQ(json["recipients"][0]["delay_reason"], "host one.test[192.0.2.1] said: 451 later");
  EXPECT_EQ(json["recipients"][1]["delay_reason"], "delivery suspended by operator: maintenance");
  EXPECT_EQ(json["next_attempt_time"], absl::ToUnixSeconds(kNow) + 90);
}

TEST(MessageViewTest, TheNullSenderIsMailerDaemonAsInPostfix) {
  MessageView view = View();
  view.message.envelope.reverse_path.clear();
  EXPECT_EQ(ListJson(view, kNow)["sender"], "MAILER-DAEMON");
}

TEST(MessageViewTest, AMessageIsActiveIfAnyJobIsAndHeldIfAllAre) {
  MessageView view = View();
  EXPECT_EQ(StateName(view), "deferred");
  view.jobs[0].state = JobFacts::State::kHeld;
  EXPECT_EQ(StateName(view), "deferred");
  view.jobs[1].state = JobFacts::State::kActive;
  EXPECT_EQ(StateName(view), "active");
  view.jobs[1].state = JobFacts::State::kHeld;
  EXPECT_EQ(StateName(view), "hold");
}

TEST(MessageViewTest, ShowTellsTheStoryOfAMessage) {
  const Json json = ShowJson(View(), kNow);
  EXPECT_EQ(json["recipients"][0]["state"], "pending");
  EXPECT_EQ(json["recipients"][2]["state"], "delivered");
  const Json& timeline = json["timeline"];
  ASSERT_EQ(timeline.size(), 2 + queue::kAttemptsKept);
  EXPECT_EQ(timeline[0]["event"], "arrival");
  EXPECT_EQ(timeline[1]["event"], "earlier attempts");
  EXPECT_EQ(timeline[1]["attempts"], 25 - queue::kAttemptsKept);
  EXPECT_EQ(timeline[2]["event"], "attempt");
  EXPECT_EQ(timeline[2]["relay"], "one.test[192.0.2.1]:25");
  EXPECT_EQ(timeline[2]["dsn"], "4.3.0");
  EXPECT_EQ(timeline[2]["seconds"], 1.5);
  const Json& waits = json["waits"];
  ASSERT_EQ(waits.size(), 2u);
  EXPECT_EQ(waits[0]["nexthop"], "one.test");
  EXPECT_EQ(waits[0]["until"], absl::ToUnixSeconds(kNow) + 90);
  EXPECT_EQ(waits[1]["reason"], "delivery suspended by operator: maintenance");
  EXPECT_FALSE(waits[1].contains("until"));
  EXPECT_EQ(waits[1]["suspended"], true);
}

TEST(MessageViewTest, OctetsThatAreNoUtf8StillMakeALine) {
  MessageView view = View();
  view.message.envelope.message_id = "<\xFF@x>";
  EXPECT_TRUE(Json::accept(LineOf(ListJson(view, kNow))));
}

}  // namespace
}  // namespace mailrace::engine
