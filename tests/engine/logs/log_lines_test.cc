#include "engine/logs/log_lines.h"

#include <gtest/gtest.h>

namespace mailrace::logs {
namespace {

const Peer kRelay{"smtp.example.net", "192.0.2.4", 587};

absl::Time At(double seconds) { return absl::FromUnixSeconds(1'000'000) + absl::Seconds(seconds); }

DeliveryLine Delivered() {
  DeliveryLine line;
  line.queue_id = "CD767FCE5";
  line.recipient = "jsmith@example.com";
  line.relay = kRelay;
  line.stamps = {At(0), At(0.01), At(0.02), At(0.32), At(1.23)};
  line.dsn = {2, 0, 0};
  line.text = "250 2.0.0 Ok: queued as 4F3";
  return line;
}

TEST(DeliveryLine, IsWrittenInTheCurrentStyle) {
  EXPECT_EQ(FormatDelivery(Delivered(), LogStyle::kPostfix),
            "CD767FCE5: to=<jsmith@example.com>, relay=smtp.example.net[192.0.2.4]:587, delay=1.2, "
            "delays=0.01/0.01/0.3/0.91, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4F3)");
}

TEST(DeliveryLine, HasEveryOptionalPartInPostfixsOrder) {
  DeliveryLine line = Delivered();
  line.original_recipient = "alias@example.com";
  line.connection_uses = 3;
  line.tls_features = "may:none";
  EXPECT_EQ(FormatDelivery(line, LogStyle::kPostfix),
            "CD767FCE5: to=<jsmith@example.com>, orig_to=<alias@example.com>, "
            "relay=smtp.example.net[192.0.2.4]:587, conn_use=3, delay=1.2, "
            "delays=0.01/0.01/0.3/0.91, tls=may:none, dsn=2.0.0, "
            "status=sent (250 2.0.0 Ok: queued as 4F3)");
}

TEST(TlsFeatureText, SaysTheLevelAndWhatBecameOfIt) {
  using Verdict = TlsFeature::Verdict;
  EXPECT_EQ(TlsFeatureText({"verify", Verdict::kReached}), "verify");
  EXPECT_EQ(TlsFeatureText({"may", Verdict::kWithoutTls}), "may:none");
  EXPECT_EQ(TlsFeatureText({"encrypt", Verdict::kViolated}), "!encrypt");
  EXPECT_EQ(TlsFeatureText({"secure", Verdict::kUndecided}), "secure?");
}

TEST(TlsFeatureText, IsNothingWithoutATlsPolicy) {
  EXPECT_EQ(TlsFeatureText({"", TlsFeature::Verdict::kUndecided}), "");
}

TEST(DeliveryLine, NamesTheOriginalRecipientOnlyIfItDiffersInMoreThanCase) {
  DeliveryLine line = Delivered();
  line.original_recipient = "JSmith@Example.COM";
  EXPECT_EQ(FormatDelivery(line, LogStyle::kPostfix).find("orig_to"), std::string::npos);
}

TEST(DeliveryLine, IsWrittenInTheStyleOfPostfix22) {
  DeliveryLine line = Delivered();
  line.connection_uses = 3;
  line.tls_features = "may:none";
  line.relay = {"smtp.myisp.com", "1.2.3.4", 25};
  line.text = "250 ok 1234567891 qp 12345";
  EXPECT_EQ(FormatDelivery(line, LogStyle::kPostfix22),
            "CD767FCE5: to=<jsmith@example.com>, relay=smtp.myisp.com[1.2.3.4], delay=1, "
            "status=sent (250 ok 1234567891 qp 12345)");
}

TEST(DeliveryLine, CountsCalendarSecondsInTheOldStyleAndNeverLessThanNone) {
  DeliveryLine line = Delivered();
  line.stamps.arrival = At(0.9);
  line.stamps.done = At(1.1);
  EXPECT_NE(FormatDelivery(line, LogStyle::kPostfix22).find("delay=1,"), std::string::npos);
  line.stamps.done = At(-7);
  EXPECT_NE(FormatDelivery(line, LogStyle::kPostfix22).find("delay=0,"), std::string::npos);
}

TEST(DeliveryLine, SaysThatADestinationIsSuspended) {
  DeliveryLine line = Delivered();
  line.relay = {};
  line.dsn = {4, 4, 1};
  line.status = DeliveryStatus::kDeferred;
  line.stamps = {At(0), At(2), {}, {}, At(5)};
  line.text = SuspendedText(ConnectText(kRelay, "Connection refused"));
  EXPECT_EQ(FormatDelivery(line, LogStyle::kPostfix),
            "CD767FCE5: to=<jsmith@example.com>, relay=none, delay=5, delays=2/3/0/0, dsn=4.4.1, "
            "status=deferred (delivery temporarily suspended: connect to "
            "smtp.example.net[192.0.2.4]:587: Connection refused)");
}

TEST(DeliveryLine, ShowsIpv6WithoutFurtherBrackets) {
  DeliveryLine line = Delivered();
  line.relay = {"mx.example.net", "2001:db8::1", 25};
  EXPECT_NE(FormatDelivery(line, LogStyle::kPostfix).find("relay=mx.example.net[2001:db8::1]:25,"),
            std::string::npos);
}

TEST(DeliveryLine, KeepsAHostilePeerOnItsLine) {
  DeliveryLine line = Delivered();
  line.status = DeliveryStatus::kBounced;
  line.dsn = {5, 1, 1};
  line.recipient = "x\x1b[2J\"@example.com";
  line.text = SaidText(kRelay, "550-5.1.1 no\r\n550 5.1.1 QID: status=sent\x07\n", "RCPT TO");
  const std::string text = FormatDelivery(line, LogStyle::kPostfix);
  EXPECT_EQ(text.find_first_of("\r\n\x1b\x07"), std::string::npos);
  EXPECT_NE(text.find("to=<x?[2J\"@example.com>"), std::string::npos);
  EXPECT_NE(text.find("status=bounced (host smtp.example.net[192.0.2.4] said: 550-5.1.1 no 550 "
                      "5.1.1 QID: status=sent? (in reply to RCPT TO command))"),
            std::string::npos)
      << text;
}

TEST(FailureTexts, ArePostfixsWords) {
  EXPECT_EQ(SaidText(kRelay, "550 5.1.1 no such user", "RCPT TO"),
            "host smtp.example.net[192.0.2.4] said: 550 5.1.1 no such user (in reply to RCPT TO "
            "command)");
  EXPECT_EQ(SaidText(kRelay, "451 later", "end of DATA"),
            "host smtp.example.net[192.0.2.4] said: 451 later (in reply to end of DATA command)");
  EXPECT_EQ(RefusedToTalkText(kRelay, "554 go away"),
            "host smtp.example.net[192.0.2.4] refused to talk to me: 554 go away");
  EXPECT_EQ(LostConnectionText(kRelay, "sending RCPT TO"),
            "lost connection with smtp.example.net[192.0.2.4] while sending RCPT TO");
  EXPECT_EQ(TimedOutText(kRelay, "sending end of data -- message may be sent more than once"),
            "conversation with smtp.example.net[192.0.2.4] timed out while sending end of data -- "
            "message may be sent more than once");
  EXPECT_EQ(ConnectText({"h.example", "192.0.2.9", 25}, "Connection timed out"),
            "connect to h.example[192.0.2.9]:25: Connection timed out");
}

TEST(QueueLines, TellTheLifeOfAMessage) {
  const Peer client{"localhost", "127.0.0.1", 40022};
  EXPECT_EQ(ClientLine("A1", client), "A1: client=localhost[127.0.0.1]");
  EXPECT_EQ(AuthenticatedClientLine("A1", client, "PLAIN", "app"),
            "A1: client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=app");
  EXPECT_EQ(PickupLine("A1", 1000, "app@example.com"), "A1: uid=1000 from=<app@example.com>");
  EXPECT_EQ(MessageIdLine("A1", "<1@example.com>"), "A1: message-id=<1@example.com>");
  EXPECT_EQ(MessageIdLine("A1", ""), "A1: message-id=<>");
  EXPECT_EQ(ActiveLine("A1", "app@example.com", 1234, 2),
            "A1: from=<app@example.com>, size=1234, nrcpt=2 (queue active)");
  EXPECT_EQ(ActiveLine("A1", "", 1, 1), "A1: from=<>, size=1, nrcpt=1 (queue active)");
  EXPECT_EQ(ExpiredLine("A1", "app@example.com"),
            "A1: from=<app@example.com>, status=expired, returned to sender");
  EXPECT_EQ(ForceExpiredLine("A1", "app@example.com"),
            "A1: from=<app@example.com>, status=force-expired, returned to sender");
  EXPECT_EQ(RemovedLine("A1"), "A1: removed");
  EXPECT_EQ(StartTlsOfferedLine("mx.example.net"), "Host offered STARTTLS: [mx.example.net]");
}

TEST(QueueLines, NameTheNotificationThatWasSent) {
  EXPECT_EQ(NotificationLine("A1", Notification::kSenderFailure, "B2"),
            "A1: sender non-delivery notification: B2");
  EXPECT_EQ(NotificationLine("A1", Notification::kSenderDelay, "B2"),
            "A1: sender delay notification: B2");
  EXPECT_EQ(NotificationLine("A1", Notification::kSenderSuccess, "B2"),
            "A1: sender delivery status notification: B2");
  EXPECT_EQ(NotificationLine("A1", Notification::kPostmasterFailure, "B2"),
            "A1: postmaster non-delivery notification: B2");
  EXPECT_EQ(NotificationLine("A1", Notification::kPostmasterDelay, "B2"),
            "A1: postmaster delay notification: B2");
}

TEST(OneLine, TurnsLineEndsIntoSpacesAndControlsIntoQuestionMarks) {
  EXPECT_EQ(OneLine("250-a\r\n250 b\r\n"), "250-a 250 b");
  EXPECT_EQ(OneLine("250-a\n250 b"), "250-a 250 b");
  EXPECT_EQ(OneLine("a\rb"), "a?b");
  EXPECT_EQ(OneLine(std::string_view("a\0b\x7f", 4)), "a?b?");
  EXPECT_EQ(OneLine(""), "");
}

}  // namespace
}  // namespace mailrace::logs
