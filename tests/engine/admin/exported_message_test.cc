// A message that leaves one queue for another comes out as it went in; what is no export
// is refused by the member that is wrong.
#include "engine/admin/exported_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

queue::RecoveredMessage Message() {
  queue::RecoveredMessage message;
  queue::Envelope& envelope = message.envelope;
  envelope.id = QueueId{0xABC};
  envelope.arrival = absl::FromUnixNanos(1'800'000'000'123'456'789);
  envelope.reverse_path = "app@example.com";
  envelope.envid = "QQ+1";
  envelope.ret = queue::Ret::kHeaders;
  envelope.eight_bit = true;
  envelope.octets = 42;
  envelope.chunks = 1;
  envelope.message_id = "<1@example.com>";
  envelope.submitter = "web";
  envelope.tenant = "shop";
  envelope.priority = 0;
  envelope.recipients = {{"a@example.net", "rfc822;a@example.org", queue::kNotifyNever},
                         {"b@example.net", "", queue::kNotifySuccess | queue::kNotifyDelay},
                         {"c@example.net", "", 0}};
  return message;
}

std::string Refusal(const nlohmann::json& json) {
  const absl::StatusOr<queue::Envelope> envelope = ParseExport(json);
  EXPECT_FALSE(envelope.ok()) << json;
  return std::string(envelope.status().message());
}

TEST(ExportedMessageTest, AnEnvelopeComesBackAsItWas) {
  const queue::Envelope before = Message().envelope;
  const auto after = ParseExport(nlohmann::json::parse(ExportJson(Message()).dump()));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->arrival, before.arrival);
  EXPECT_EQ(after->reverse_path, before.reverse_path);
  EXPECT_EQ(after->envid, before.envid);
  EXPECT_EQ(after->ret, before.ret);
  EXPECT_EQ(after->eight_bit, before.eight_bit);
  EXPECT_EQ(after->smtputf8, before.smtputf8);
  EXPECT_EQ(after->message_id, before.message_id);
  EXPECT_EQ(after->submitter, before.submitter);
  EXPECT_EQ(after->tenant, before.tenant);
  EXPECT_EQ(after->priority, before.priority);
  ASSERT_THAT(after->recipients, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(after->recipients[i].address, before.recipients[i].address);
    EXPECT_EQ(after->recipients[i].orcpt, before.recipients[i].orcpt);
    EXPECT_EQ(after->recipients[i].notify, before.recipients[i].notify);
  }
}

TEST(ExportedMessageTest, OnlyWhoIsStillOwedIsImported) {
  queue::RecoveredMessage message = Message();
  message.done_indices = {0, 2};
  message.done_finals = {queue::Final::kDelivered, queue::Final::kExpired};
  const nlohmann::json json = ExportJson(message);
  EXPECT_EQ(json["recipients"][0]["state"], "delivered");
  EXPECT_EQ(json["recipients"][2]["state"], "expired");
  const auto envelope = ParseExport(json);
  ASSERT_TRUE(envelope.ok());
  ASSERT_THAT(envelope->recipients, SizeIs(1));
  EXPECT_EQ(envelope->recipients[0].address, "b@example.net");
  message.done_indices = {0, 1, 2};
  message.done_finals.push_back(queue::Final::kFailed);
  EXPECT_TRUE(absl::IsNotFound(ParseExport(ExportJson(message)).status()));
}

TEST(ExportedMessageTest, TheNullSenderStaysNull) {
  queue::RecoveredMessage message = Message();
  message.envelope.reverse_path.clear();
  const auto envelope = ParseExport(ExportJson(message));
  ASSERT_TRUE(envelope.ok()) << envelope.status();
  EXPECT_EQ(envelope->reverse_path, "");
}

TEST(ExportedMessageTest, EveryMemberThatIsWrongIsNamed) {
  const nlohmann::json good = ExportJson(Message());
  const auto with = [&](const char* name, nlohmann::json value) {
    nlohmann::json json = good;
    json[name] = std::move(value);
    return json;
  };
  EXPECT_THAT(Refusal(7), HasSubstr("mailrace_export"));
  EXPECT_THAT(Refusal(with("mailrace_export", 2)), HasSubstr("version 2"));
  EXPECT_THAT(Refusal(with("arrival", "yesterday")), HasSubstr("\"arrival\""));
  EXPECT_THAT(Refusal(with("sender", "no at sign")), HasSubstr("\"sender\""));
  EXPECT_THAT(Refusal(with("sender", "a@b.test\r\nRCPT TO:<x@y>")), HasSubstr("control"));
  EXPECT_THAT(Refusal(with("sender", 7)), HasSubstr("\"sender\""));
  EXPECT_THAT(Refusal(with("class", "slow")), HasSubstr("\"class\""));
  EXPECT_THAT(Refusal(with("ret", "half")), HasSubstr("\"ret\""));
  EXPECT_THAT(Refusal(with("smtputf8", "no")), HasSubstr("\"smtputf8\""));
  EXPECT_THAT(Refusal(with("tenant", std::string(2000, 't'))), HasSubstr("\"tenant\""));
  EXPECT_THAT(Refusal(with("recipients", nlohmann::json::array())), HasSubstr("\"recipients\""));
  EXPECT_THAT(Refusal(with("recipients", {7})), HasSubstr("\"recipients\""));
  EXPECT_THAT(Refusal(with("recipients", {{{"address", "x y@z.test"}}})), HasSubstr("malformed"));
  EXPECT_THAT(Refusal(with("recipients", {{{"address", "a@b.test"}, {"notify", {"soon"}}}})),
              HasSubstr("notify"));
  EXPECT_THAT(
      Refusal(with("recipients", {{{"address", "a@b.test"}, {"notify", {"never", "delay"}}}})),
      HasSubstr("never"));
}

bool Accepts(const std::vector<std::string_view>& pieces) {
  ContentCheck check;
  for (const std::string_view piece : pieces) check.Feed(piece);
  return check.complete();
}

TEST(ExportedMessageTest, ContentIsLinesThatEndWithCrlfHoweverItIsCut) {
  const std::string good = "Subject: x\r\n\r\n\r\n.\r\nbody\r\n";
  for (size_t cut = 0; cut <= good.size(); ++cut) {
    EXPECT_TRUE(
        Accepts({std::string_view(good).substr(0, cut), std::string_view(good).substr(cut)}))
        << cut;
  }
  for (const std::string_view bad :
       {"", "x", "x\n", "\n", "x\r", "x\rx\r\n", "x\n.\r\nx\r\n", "\r\r\n", "x\r\n\n", "x\r\ny"}) {
    for (size_t cut = 0; cut <= bad.size(); ++cut) {
      EXPECT_FALSE(Accepts({bad.substr(0, cut), bad.substr(cut)})) << bad << " cut at " << cut;
    }
  }
}

TEST(ExportedMessageTest, EightBitContentIsNoticed) {
  ContentCheck check;
  check.Feed("plain\r\n");
  EXPECT_FALSE(check.eight_bit());
  check.Feed("\xC3\xA4\r\n");
  EXPECT_TRUE(check.eight_bit());
}

}  // namespace
}  // namespace mailrace::engine
