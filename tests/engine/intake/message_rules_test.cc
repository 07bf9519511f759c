// Class and tenant at intake: what decides, in which order, and what leaves the header.
#include "engine/intake/message_rules.h"

#include "engine/intake/header_scan.h"
#include "gmock/gmock.h"
#include "tests/engine/intake/intake_fixture.h"

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::Not;

std::shared_ptr<const tables::TableList> Table(std::string_view spec) {
  config::Diagnostics diagnostics;
  auto list = tables::TableList::Load(spec, {.parameter = "test"}, &diagnostics);
  EXPECT_NE(list, nullptr) << diagnostics.ToString();
  return list;
}

const SocketAddress kListener = *SocketAddress::Parse("127.0.0.1:2526");

TEST(MessageRulesTest, WithoutConfigurationAllIsNormalAndNobodys) {
  queue::Envelope envelope;
  envelope.reverse_path = "a@example.com";
  EXPECT_EQ(MessageRules().Apply({}, kListener, &envelope), "");
  EXPECT_EQ(envelope.priority, 1);
  EXPECT_EQ(envelope.tenant, "");
}

TEST(MessageRulesTest, TheMostParticularKeyDecides) {
  MessageRules rules;
  rules.class_header = "X-Class";
  rules.default_priority = 2;
  queue::Envelope envelope;
  envelope.submitter = "shop";
  envelope.reverse_path = "Reset@Example.com";
  const auto apply = [&](std::string_view label) {
    EXPECT_EQ(rules.Apply({.message_class = label}, kListener, &envelope), "");
    return envelope.priority;
  };
  EXPECT_EQ(apply(""), 2);
  rules.classes = Table("inline:{ :2526=urgent }");
  EXPECT_EQ(apply(""), 0);
  rules.classes = Table("inline:{ :2526=urgent, 127.0.0.1:2526=normal }");
  EXPECT_EQ(apply(""), 1);
  rules.classes = Table("inline:{ 127.0.0.1:2526=normal, @example.com=urgent }");
  EXPECT_EQ(apply(""), 0);
  rules.classes = Table("inline:{ @example.com=urgent, reset@example.com=bulk }");
  EXPECT_EQ(apply(""), 2);
  rules.classes = Table("inline:{ reset@example.com=bulk, shop=urgent }");
  EXPECT_EQ(apply(""), 0);
  EXPECT_EQ(apply("Normal"), 1);
}

TEST(MessageRulesTest, TheNullSenderHasAKeyOfItsOwn) {
  MessageRules rules;
  rules.classes = Table("inline:{ <>=bulk }");
  rules.tenants = Table("static:acme");
  queue::Envelope envelope;
  rules.Apply({}, kListener, &envelope);
  EXPECT_EQ(envelope.priority, 2);
  EXPECT_EQ(envelope.tenant, "acme");
}

TEST(MessageRulesTest, ABadLabelCountsAsNone) {
  MessageRules rules;
  rules.class_header = "X-Class";
  rules.tenant_header = "X-Tenant";
  rules.classes = Table("static:bulk");
  rules.tenants = Table("static:acme");
  queue::Envelope envelope;
  EXPECT_EQ(rules.Apply({"very\x01urgent", "a b"}, kListener, &envelope),
            "X-Class: unknown class \"very?urgent\"; X-Tenant: bad tenant \"a b\"");
  EXPECT_EQ(envelope.priority, 2);
  EXPECT_EQ(envelope.tenant, "acme");
  EXPECT_NE(rules.Apply({"", std::string(65, 'x')}, kListener, &envelope), "");
  EXPECT_EQ(rules.Apply({"", std::string(64, 'X')}, kListener, &envelope), "");
  EXPECT_EQ(envelope.tenant, std::string(64, 'x'));
}

// --- The header section. -----------------------------------------------------------

TEST(HeaderScanTest, FindsLabelsOnEverySplit) {
  const std::string content =
      "x-class : Urgent\r\n"
      "Subject: x\r\n"
      "X-Tenant:\r\n\t acme \r\n"
      "X-Class: bulk\r\n"
      "X-Classy: no\r\n"
      "\r\n"
      "X-Class: body\r\n";
  for (size_t cut = 0; cut <= content.size(); ++cut) {
    HeaderScan scan(1000);
    scan.LookFor("X-Class", "X-Tenant");
    scan.Scan(std::string_view(content).substr(0, cut), false);
    scan.Scan(content, true);
    EXPECT_EQ(scan.message_class(), "Urgent");
    EXPECT_EQ(scan.tenant(), "acme");
    ASSERT_EQ(scan.label_ranges().size(), 3u);
    std::string labels;
    for (const auto& range : scan.label_ranges()) {
      labels += content.substr(range.begin, range.end - range.begin);
    }
    EXPECT_EQ(labels, "x-class : Urgent\r\nX-Tenant:\r\n\t acme \r\nX-Class: bulk\r\n");
  }
}

TEST(HeaderScanTest, ALabelsValueIsBounded) {
  HeaderScan scan(100'000);
  scan.LookFor("X-Class", "");
  std::string content = "X-Class: " + std::string(5000, 'u') + "\r\n";
  for (int i = 0; i < 100; ++i) content += " " + std::string(200, 'v') + "\r\n";
  scan.Scan(content + "\r\n", true);
  EXPECT_LE(scan.message_class().size(), 400u);
  EXPECT_EQ(scan.tenant(), "");
}

// --- In a session. -----------------------------------------------------------------

class LabelledMessageTest : public IntakeFixture {
 protected:
  LabelledMessageTest() {
    options_.rules.class_header = "X-Mailrace-Class";
    options_.rules.tenant_header = "X-Mailrace-Tenant";
    options_.always_add_missing_headers = false;
  }
  FakeAcceptor::Accepted Send(const std::string& content) {
    if (session_ == nullptr) Connect();
    Transaction();
    EXPECT_THAT(Say(content + ".\r\n"), testing::StartsWith("250 "));
    return acceptor_.accepted.back();
  }
  // Behind our own fields, which end with the date of Received.
  static std::string Sent(const FakeAcceptor::Accepted& accepted) {
    const size_t end = accepted.content.find("+0000 (UTC)\r\n");
    EXPECT_NE(end, std::string::npos) << accepted.content;
    return accepted.content.substr(end + 13);
  }
};

TEST_F(LabelledMessageTest, LabelsSteerAndAreTakenOut) {
  const auto accepted = Send(
      "X-Mailrace-Class: urgent\r\nSubject: x\r\nx-mailrace-tenant:\r\n ACME\r\n"
      "From: a@example.com\r\nX-Mailrace-Class: bulk\r\n\r\nX-Mailrace-Class: body\r\n");
  EXPECT_EQ(accepted.envelope.priority, 0);
  EXPECT_EQ(accepted.envelope.tenant, "acme");
  EXPECT_EQ(Sent(accepted), "Subject: x\r\nFrom: a@example.com\r\n\r\nX-Mailrace-Class: body\r\n");
  EXPECT_EQ(accepted.envelope.octets, accepted.content.size());
}

TEST_F(LabelledMessageTest, AHeaderOfLabelsAloneLeavesAnEmptyOne) {
  EXPECT_EQ(Sent(Send("X-Mailrace-Class: bulk\r\n\r\nbody\r\n")), "\r\nbody\r\n");
  EXPECT_EQ(Sent(Send("X-Mailrace-Class: bulk\r\n")), "");
}

TEST_F(LabelledMessageTest, LabelsStayWhenTheyAreWanted) {
  options_.rules.keep_headers = true;
  const auto accepted = Send("X-Mailrace-Class: bulk\r\nSubject: x\r\n\r\nbody\r\n");
  EXPECT_EQ(accepted.envelope.priority, 2);
  EXPECT_EQ(Sent(accepted), "X-Mailrace-Class: bulk\r\nSubject: x\r\n\r\nbody\r\n");
}

TEST_F(LabelledMessageTest, AnUnknownClassIsLoggedOnceASessionAndLosesNothing) {
  for (int i = 0; i < 3; ++i) {
    const auto accepted = Send("X-Mailrace-Class: now\r\nSubject: x\r\n\r\nbody\r\n");
    EXPECT_EQ(accepted.envelope.priority, 1);
  }
  EXPECT_EQ(acceptor_.accepted.size(), 3u);
  size_t logged = 0;
  for (const std::string& line : log_.lines) {
    if (line.find("X-Mailrace-Class: unknown class \"now\", ignored") != std::string::npos) {
      ++logged;
    }
  }
  EXPECT_EQ(logged, 1u);
}

TEST_F(LabelledMessageTest, OneMessagesLabelsAreNotTheNexts) {
  EXPECT_EQ(Send("X-Mailrace-Class: urgent\r\nX-Mailrace-Tenant: acme\r\n\r\n").envelope.priority,
            0);
  const auto next = Send("Subject: x\r\n\r\n");
  EXPECT_EQ(next.envelope.priority, 1);
  EXPECT_EQ(next.envelope.tenant, "");
}

TEST_F(LabelledMessageTest, ALargeMessageIsLabelledBeforeItsFirstRecordIsWritten) {
  Connect();
  Transaction();
  Say("X-Mailrace-Tenant: acme\r\nSubject: x\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    std::string lines;
    for (int line = 0; line < 1000; ++line) lines += std::string(70, 'x') + "\r\n";
    Say(lines);
  }
  Say(".\r\n");
  ASSERT_EQ(acceptor_.accepted.size(), 1u);
  const FakeAcceptor::Accepted& accepted = acceptor_.accepted[0];
  EXPECT_GT(accepted.envelope.chunks, 1u);
  EXPECT_EQ(accepted.envelope.tenant, "acme");
  EXPECT_EQ(accepted.envelope.octets, accepted.content.size());
  EXPECT_THAT(accepted.content, Not(HasSubstr("X-Mailrace-Tenant")));
}

TEST_F(LabelledMessageTest, WhatIsNotConfiguredIsContentLikeAnyOther) {
  options_.rules = MessageRules();
  const auto accepted = Send("X-Mailrace-Class: urgent\r\n\r\nbody\r\n");
  EXPECT_EQ(accepted.envelope.priority, 1);
  EXPECT_EQ(Sent(accepted), "X-Mailrace-Class: urgent\r\n\r\nbody\r\n");
}

}  // namespace
}  // namespace mailrace::engine
