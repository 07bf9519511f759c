// What a notification says, and that hostile input cannot change its shape. The shape is
// judged by python3's email package, which shares no code with ours.
#include "engine/bounces/dsn.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "base/address.h"
#include "base/random.h"
#include "gmock/gmock.h"

namespace mailrace::engine {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view kOriginal =
    "Received: from app.example.com\r\n"
    "From: Alice <alice@example.com>\r\n"
    "Subject: Your order\r\n"
    "Message-ID: <1@app.example.com>\r\n"
    "\r\n"
    "Thank you.\r\n"
    ".\r\n"
    "Last line\r\n";

DsnRecipient Refused(std::string address) {
  DsnRecipient recipient;
  recipient.address = std::move(address);
  recipient.action = DsnAction::kFailed;
  recipient.status = {5, 1, 1};
  recipient.remote_mta = "mx.example.net";
  recipient.reply = "550 5.1.1 no such user";
  recipient.reason =
      "host mx.example.net[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)";
  return recipient;
}

DsnRequest Failure() {
  DsnRequest request;
  request.queue_id = {0x123456789ABCDEF};
  request.reverse_path = "alice@example.com";
  request.message_id = "<1@app.example.com>";
  request.arrival = absl::FromUnixSeconds(1'800'000'000);
  request.original = kOriginal;
  request.original_octets = kOriginal.size();
  request.recipients = {Refused("bob@example.net")};
  request.hostname = "mail.example.com";
  request.delay_warning_time = absl::Hours(4);
  request.lifetime = absl::Hours(5 * 24);
  request.date = absl::FromUnixSeconds(1'800'000'060);
  request.boundary = "R4nd0mB0undaryXyz";
  return request;
}

// Python's view of a message: "name=value" lines, flattened into a map.
class Parsed {
 public:
  explicit Parsed(const std::string& content) {
    const std::string stem = testing::TempDir() + "/dsn-" + std::to_string(getpid());
    WriteFile(stem + ".eml", content);
    WriteFile(stem + ".py", kScript);
    const std::string command = "python3 '" + stem + ".py' '" + stem + ".eml'";
    FILE* const pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) {
      ADD_FAILURE() << "python3 cannot be run";
      return;
    }
    std::string output;
    char block[4096];
    for (size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) output.append(block, n);
    EXPECT_EQ(pclose(pipe), 0);
    // A name, '=', the value in hexadecimal.
    size_t at = 0;
    while (at < output.size()) {
      const size_t equals = output.find('=', at);
      const size_t end = output.find('\n', at);
      std::string value;
      for (size_t i = equals + 1; i + 1 < end; i += 2) {
        value += static_cast<char>(std::stoi(output.substr(i, 2), nullptr, 16));
      }
      fields_[output.substr(at, equals - at)] = value;
      at = end + 1;
    }
  }
  std::string operator[](const std::string& name) const {
    const auto found = fields_.find(name);
    return found == fields_.end() ? "(none)" : found->second;
  }

 private:
  static constexpr std::string_view kScript = R"py(
import email, email.policy, sys
def show(name, value):
    if isinstance(value, str):
        value = value.encode('utf-8', 'surrogateescape')
    print(name + '=' + value.hex())
message = email.message_from_bytes(open(sys.argv[1], 'rb').read(),
                                   policy=email.policy.default.clone(utf8=True))
defects = list(message.defects)
for part in message.walk():
    defects += part.defects
show('defects', repr(defects) if defects else '')
show('type', message.get_content_type())
show('report-type', message.get_param('report-type', ''))
for name in message.keys():
    show(name.lower(), str(message[name]))
    show('count.' + name.lower(), str(len(message.get_all(name))))
parts = list(message.iter_parts())
show('parts', str(len(parts)))
for i, part in enumerate(parts):
    show('%d.type' % i, part.get_content_type())
    show('%d.cte' % i, str(part.get('Content-Transfer-Encoding', '')))
    show('%d.description' % i, str(part.get('Content-Description', '')))
show('0.text', parts[0].get_payload(decode=True))
status = parts[1]
blocks = list(status.get_payload())
if status.get_content_type() != 'message/delivery-status':
    # This Python reads only that type as a list of field blocks, and any other message/*
    # as one message whose body holds the rest.
    rest = blocks[0].get_payload(decode=True).replace(b'\r\n', b'\n')
    blocks += [email.message_from_bytes(block + b'\n\n', policy=message.policy)
               for block in rest.strip(b'\n').split(b'\n\n')]
show('recipients', str(len(blocks) - 1))
for i, block in enumerate(blocks):
    for name in block.keys():
        show('status.%d.%s' % (i, name.lower()), ' '.join(str(block[name]).split()))
if len(parts) > 2:
    inner = parts[2].get_payload()
    if isinstance(inner, list):
        show('2.subject', str(inner[0]['Subject']))
        show('2.body', inner[0].get_payload(decode=True) or b'')
    else:
        show('2.text', parts[2].get_payload(decode=True))
)py";
  static void WriteFile(const std::string& path, std::string_view content) {
    std::ofstream(path, std::ios::binary) << content;
  }
  std::map<std::string, std::string> fields_;
};

// What every notification must hold to, whatever went in.
void ExpectSound(const Dsn& dsn) {
  std::string_view rest = dsn.content;
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    ASSERT_NE(end, std::string_view::npos);
    const std::string_view line = rest.substr(0, end);
    ASSERT_LE(line.size(), 998u);
    ASSERT_EQ(line.find_first_of(std::string_view("\r\n\0", 3)), std::string_view::npos) << line;
    rest.remove_prefix(end + 2);
  }
  EXPECT_EQ(dsn.eight_bit, !IsAscii(dsn.content));
  EXPECT_TRUE(dsn.eight_bit || !dsn.smtputf8);
}

// --- What it says ------------------------------------------------------------------

TEST(DsnTest, FailureSaysWhatPostfixWouldSay) {
  const Dsn dsn = BuildDsn(Failure());
  ExpectSound(dsn);
  EXPECT_EQ(dsn.content,
            "Date: Fri, 15 Jan 2027 08:01:00 +0000 (UTC)\r\n"
            "From: MAILER-DAEMON@mail.example.com (Mail Delivery System)\r\n"
            "Subject: Undelivered Mail Returned to Sender\r\n"
            "To: alice@example.com\r\n"
            "Auto-Submitted: auto-replied\r\n"
            "Message-Id: <20270115080100.R4nd0mB0undaryXyz@mail.example.com>\r\n"
            "In-Reply-To: <1@app.example.com>\r\n"
            "References: <1@app.example.com>\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=delivery-status;\r\n"
            "\tboundary=\"R4nd0mB0undaryXyz\"\r\n"
            "\r\n"
            "This is a MIME-encapsulated message.\r\n"
            "\r\n"
            "--R4nd0mB0undaryXyz\r\n"
            "Content-Description: Notification\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n"
            "\r\n"
            "This is the mail system at host mail.example.com.\r\n"
            "\r\n"
            "I'm sorry to have to inform you that your message could not\r\n"
            "be delivered to one or more recipients. It's attached below.\r\n"
            "\r\n"
            "No further attempt will be made for the recipients below.\r\n"
            "\r\n"
            "For further assistance, please send mail to postmaster.\r\n"
            "\r\n"
            "If you do so, please include this problem report. You can\r\n"
            "delete your own text from the attached returned message.\r\n"
            "\r\n"
            "                   The mail system\r\n"
            "\r\n"
            "<bob@example.net>: host mx.example.net[192.0.2.1] said: 550 5.1.1 no such user\r\n"
            "    (in reply to RCPT TO command)\r\n"
            "\r\n"
            "--R4nd0mB0undaryXyz\r\n"
            "Content-Description: Delivery report\r\n"
            "Content-Type: message/delivery-status\r\n"
            "\r\n"
            "Reporting-MTA: dns; mail.example.com\r\n"
            "X-Mailrace-Queue-ID: 123456789ABCDEF\r\n"
            "X-Mailrace-Sender: rfc822; alice@example.com\r\n"
            "Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000 (UTC)\r\n"
            "\r\n"
            "Final-Recipient: rfc822; bob@example.net\r\n"
            "Action: failed\r\n"
            "Status: 5.1.1\r\n"
            "Remote-MTA: dns; mx.example.net\r\n"
            "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
            "\r\n"
            "--R4nd0mB0undaryXyz\r\n"
            "Content-Description: Undelivered Message\r\n"
            "Content-Type: message/rfc822\r\n"
            "\r\n" +
                std::string(kOriginal) + "\r\n--R4nd0mB0undaryXyz--\r\n");
  EXPECT_EQ(dsn.message_id, "<20270115080100.R4nd0mB0undaryXyz@mail.example.com>");
  EXPECT_EQ(dsn.recipients_reported, 1u);
  EXPECT_TRUE(dsn.returned_whole);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_FALSE(dsn.smtputf8);
}

TEST(DsnTest, FailureIsReadByAnotherParser) {
  DsnRequest request = Failure();
  request.envid = "order-4711";
  request.recipients[0].orcpt = "rfc822;Bob@Example.net";
  request.recipients[0].last_attempt = request.date;
  request.recipients.push_back(Refused("carol@example.net"));
  request.recipients[1].remote_mta.clear();
  request.recipients[1].reply.clear();
  request.recipients[1].status = {4, 4, 7};
  request.recipients[1].reason = "connect to mx.example.net[192.0.2.1]:25: Connection refused";
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["type"], "multipart/report");
  EXPECT_EQ(parsed["report-type"], "delivery-status");
  EXPECT_EQ(parsed["auto-submitted"], "auto-replied");
  EXPECT_EQ(parsed["to"], "alice@example.com");
  EXPECT_EQ(parsed["parts"], "3");
  EXPECT_EQ(parsed["0.type"], "text/plain");
  EXPECT_EQ(parsed["1.type"], "message/delivery-status");
  EXPECT_EQ(parsed["2.type"], "message/rfc822");
  EXPECT_EQ(parsed["recipients"], "2");
  EXPECT_EQ(parsed["status.0.original-envelope-id"], "order-4711");
  EXPECT_EQ(parsed["status.0.reporting-mta"], "dns; mail.example.com");
  EXPECT_EQ(parsed["status.1.original-recipient"], "rfc822;Bob@Example.net");
  EXPECT_EQ(parsed["status.1.final-recipient"], "rfc822; bob@example.net");
  EXPECT_EQ(parsed["status.1.action"], "failed");
  EXPECT_EQ(parsed["status.1.status"], "5.1.1");
  EXPECT_EQ(parsed["status.1.diagnostic-code"], "smtp; 550 5.1.1 no such user");
  EXPECT_EQ(parsed["status.1.last-attempt-date"], "Fri, 15 Jan 2027 08:01:00 +0000 (UTC)");
  EXPECT_EQ(parsed["status.2.status"], "4.4.7");
  EXPECT_EQ(parsed["status.2.remote-mta"], "(none)");
  EXPECT_EQ(parsed["status.2.diagnostic-code"],
            "X-Mailrace; connect to mx.example.net[192.0.2.1]:25: Connection refused");
  EXPECT_EQ(parsed["2.subject"], "Your order");
  EXPECT_THAT(parsed["2.body"], StartsWith("Thank you."));
}

TEST(DsnTest, DelayNoticeSaysUntilWhenAndReturnsTheHeaderOnly) {
  DsnRequest request = Failure();
  request.kind = DsnAction::kDelayed;
  request.ret = queue::Ret::kFull;  // Governs failures alone.
  request.recipients[0].action = DsnAction::kDelayed;
  request.recipients[0].status = {4, 4, 1};
  request.recipients[0].will_retry_until = request.arrival + absl::Hours(5 * 24);
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_FALSE(dsn.returned_whole);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["subject"], "Delayed Mail (still being retried)");
  EXPECT_THAT(parsed["0.text"], AllOf(HasSubstr("THIS IS A WARNING ONLY."),
                                      HasSubstr("could not be delivered for more than 4 hours."),
                                      HasSubstr("It will be retried until it is 5 days old.")));
  EXPECT_EQ(parsed["status.1.action"], "delayed");
  EXPECT_EQ(parsed["status.1.will-retry-until"], "Wed, 20 Jan 2027 08:00:00 +0000 (UTC)");
  EXPECT_EQ(parsed["2.type"], "text/rfc822-headers");
  EXPECT_EQ(parsed["2.description"], "Undelivered Message Headers");
  EXPECT_THAT(parsed["2.text"], AllOf(HasSubstr("Your order"), Not(HasSubstr("Thank you."))));
}

TEST(DsnTest, SuccessReportsNameTheirAction) {
  for (const auto& [action, name] :
       std::map<DsnAction, std::string>{{DsnAction::kRelayed, "relayed"},
                                        {DsnAction::kDelivered, "delivered"},
                                        {DsnAction::kExpanded, "expanded"}}) {
    DsnRequest request = Failure();
    request.kind = action;
    request.recipients[0].action = action;
    request.recipients[0].status = {};  // None known: X.0.0 of the right class.
    const Parsed parsed(BuildDsn(request).content);
    EXPECT_EQ(parsed["subject"], "Successful Mail Delivery Report");
    EXPECT_THAT(parsed["0.text"], HasSubstr(action == DsnAction::kRelayed
                                                ? "which does not give delivery reports"
                                                : "Your message was successfully delivered"));
    EXPECT_EQ(parsed["status.1.action"], name);
    EXPECT_EQ(parsed["status.1.status"], "2.0.0");
    EXPECT_EQ(parsed["2.description"], "Message Headers");
  }
}

// --- What it returns ---------------------------------------------------------------

TEST(DsnTest, RetHeadersReturnsTheHeaderOnly) {
  DsnRequest request = Failure();
  request.ret = queue::Ret::kHeaders;
  const Dsn dsn = BuildDsn(request);
  EXPECT_FALSE(dsn.returned_whole);
  EXPECT_THAT(dsn.content, AllOf(HasSubstr("Your order"), Not(HasSubstr("Thank you."))));
}

TEST(DsnTest, LargeOriginalIsNeverReturnedWhole) {
  const std::string head = std::string(kOriginal) + std::string(100'000, 'x');
  DsnRequest request = Failure();
  request.ret = queue::Ret::kFull;
  request.original = head;
  request.original_octets = 10'000'000;
  const Dsn dsn = BuildDsn(request);
  EXPECT_FALSE(dsn.returned_whole);
  EXPECT_LT(dsn.content.size(), 4000u);
  EXPECT_THAT(dsn.content, HasSubstr("Content-Type: text/rfc822-headers"));
}

TEST(DsnTest, BounceSizeLimitIsExact) {
  DsnRequest request = Failure();
  request.bounce_size_limit = kOriginal.size();
  EXPECT_TRUE(BuildDsn(request).returned_whole);
  request.bounce_size_limit = kOriginal.size() - 1;
  EXPECT_FALSE(BuildDsn(request).returned_whole);
}

TEST(DsnTest, EndlessHeaderSectionIsCut) {
  std::string head;
  while (head.size() < 200'000) head += "X-Header: value\r\n";
  DsnRequest request = Failure();
  request.original = head;
  request.original_octets = head.size();
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_LT(dsn.content.size(), 53'000u);
}

TEST(DsnTest, OriginalThatIsNotAtHandLeavesItsPartOut) {
  DsnRequest request = Failure();
  request.original = {};
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["parts"], "2");
}

TEST(DsnTest, EightBitOriginalIsReturnedAsItWasAndDeclared) {
  const std::string original =
      "From: alice@example.com\r\nSubject: x\r\n\r\ncaf\xe9 and caf\xc3\xa9\r\n";
  DsnRequest request = Failure();
  request.original = original;
  request.original_octets = original.size();
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_TRUE(dsn.eight_bit);
  EXPECT_FALSE(dsn.smtputf8);
  EXPECT_THAT(dsn.content, HasSubstr(original));
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["content-transfer-encoding"], "8bit");
  EXPECT_EQ(parsed["0.cte"], "");
  EXPECT_EQ(parsed["2.cte"], "8bit");
}

// --- Internationalised mail --------------------------------------------------------

TEST(DsnTest, Smtputf8MailGetsTheGlobalTypes) {
  const std::string original = "From: J\xc3\xbcrgen <j\xc3\xbcrgen@example.com>\r\n\r\nHallo\r\n";
  DsnRequest request = Failure();
  request.smtputf8 = true;
  request.reverse_path = "j\xc3\xbcrgen@example.com";
  request.recipients = {Refused("us\xc3\xa9r@example.net"), Refused("plain@example.net")};
  request.recipients[0].orcpt = "utf-8;us\xc3\xa9r@example.net";
  request.original = original;
  request.original_octets = original.size();
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_TRUE(dsn.eight_bit);
  EXPECT_TRUE(dsn.smtputf8);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["report-type"], "global-delivery-status");
  EXPECT_EQ(parsed["to"], "j\xc3\xbcrgen@example.com");
  EXPECT_EQ(parsed["1.type"], "message/global-delivery-status");
  EXPECT_EQ(parsed["2.type"], "message/global");
  EXPECT_EQ(parsed["status.1.final-recipient"], "utf-8; us\xc3\xa9r@example.net");
  EXPECT_EQ(parsed["status.1.original-recipient"], "utf-8;us\xc3\xa9r@example.net");
  EXPECT_EQ(parsed["status.2.final-recipient"], "rfc822; plain@example.net");
  EXPECT_THAT(parsed["0.text"], HasSubstr("<us\xc3\xa9r@example.net>:"));
  request.ret = queue::Ret::kHeaders;
  EXPECT_THAT(BuildDsn(request).content, HasSubstr("Content-Type: message/global-headers\r\n"));
}

TEST(DsnTest, Smtputf8MailOfPlainAsciiNeedsNoSmtputf8Back) {
  DsnRequest request = Failure();
  request.smtputf8 = true;
  const Dsn dsn = BuildDsn(request);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_FALSE(dsn.smtputf8);
}

// Only the type utf-8 has a spelling in ASCII; what else came in UTF-8 is not sent where it
// would need 8 bits.
TEST(DsnTest, AnOriginalRecipientOfAnotherTypeIsAsciiInAPlainNotice) {
  DsnRequest request = Failure();
  request.smtputf8 = true;
  request.seven_bit = true;
  request.recipients = {Refused("a@example.net"), Refused("b@example.net")};
  request.recipients[0].orcpt = "x400;us\xc3\xa9r";
  request.recipients[1].orcpt = "us\xc3\xa9r@example.net";
  const Dsn dsn = BuildDsn(request);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_THAT(dsn.content, HasSubstr("\r\nOriginal-Recipient: x400;us??r\r\n"));
  EXPECT_THAT(dsn.content, HasSubstr("\r\nOriginal-Recipient: rfc822;us??r@example.net\r\n"));
}

// The relay that refuses internationalised mail would refuse a notice that is such mail.
TEST(DsnTest, NoticeToAPlainAddressNeedsNoSmtputf8AndNo8bitWhateverItReports) {
  const std::string original =
      "From: app@example.com\r\nSubject: Gr\xc3\xbc\xc3\x9f"
      "e\r\n\r\nsch\xc3\xb6n = gut\r\n";
  DsnRequest request = Failure();
  request.smtputf8 = true;
  request.seven_bit = true;
  request.reverse_path = "app@example.com";
  request.recipients = {Refused("us\xc3\xa9r@example.net"), Refused("two@example.net")};
  request.recipients[0].orcpt = "utf-8;us\xc3\xa9r\\x{2B}x@example.net";
  request.recipients[1].orcpt = "utf-8;us\\x{E9}r@example.net";
  request.original = original;
  request.original_octets = original.size();
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_FALSE(dsn.smtputf8);
  EXPECT_TRUE(dsn.returned_whole);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["report-type"], "delivery-status");
  EXPECT_EQ(parsed["1.type"], "message/delivery-status");
  EXPECT_EQ(parsed["status.1.final-recipient"], "utf-8; us\\x{E9}r@example.net");
  EXPECT_EQ(parsed["status.1.original-recipient"], "utf-8;us\\x{E9}r\\x{2B}x@example.net");
  EXPECT_EQ(parsed["status.2.final-recipient"], "rfc822; two@example.net");
  EXPECT_EQ(parsed["status.2.original-recipient"], "utf-8;us\\x{E9}r@example.net");
  EXPECT_EQ(parsed["0.cte"], "quoted-printable");
  EXPECT_THAT(parsed["0.text"], HasSubstr("<us\xc3\xa9r@example.net>:"));
  EXPECT_EQ(parsed["2.type"], "message/global");
  EXPECT_EQ(parsed["2.cte"], "quoted-printable");
  EXPECT_THAT(dsn.content, HasSubstr("Subject: Gr=C3=BC=C3=9Fe\r\n"));
  EXPECT_THAT(dsn.content, HasSubstr("sch=C3=B6n =3D gut\r\n"));
}

TEST(DsnTest, EightBitMailThatARelayCannotTakeComesBackAsItsHeader) {
  const std::string original = "Subject: caf\xe9\r\n\r\nbody caf\xe9\r\n";
  DsnRequest request = Failure();
  request.seven_bit = true;
  request.original = original;
  request.original_octets = original.size();
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_FALSE(dsn.returned_whole);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["2.type"], "text/rfc822-headers");
  EXPECT_THAT(parsed["2.text"], AllOf(HasSubstr("Subject: caf\xe9"), Not(HasSubstr("body"))));
  EXPECT_THAT(parsed["0.text"], HasSubstr("Its header is attached below."));
}

TEST(DsnTest, WithoutSmtputf8NoHighOctetReachesAnAddress) {
  DsnRequest request = Failure();
  request.reverse_path = "j\xc3\xbcrgen@example.com";
  request.recipients[0].address = "us\xc3\xa9r@example.net";
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_THAT(dsn.content, HasSubstr("Final-Recipient: rfc822; us??r@example.net"));
}

// --- Postmaster --------------------------------------------------------------------

TEST(DsnTest, PostmasterIsToldOfMailThatNobodyElseHearsOf) {
  DsnRequest request = Failure();
  request.reverse_path.clear();
  request.postmaster = "postmaster@example.com";
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_TRUE(dsn.returned_whole);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["to"], "postmaster@example.com");
  EXPECT_EQ(parsed["subject"], "Postmaster Copy: Undelivered Bounce");
  EXPECT_EQ(parsed["status.0.x-mailrace-sender"], "(none)");
  EXPECT_EQ(parsed["status.1.action"], "failed");
}

TEST(DsnTest, PostmasterCopiesHaveTheHeaderOnly) {
  DsnRequest request = Failure();
  request.postmaster = "postmaster@example.com";
  const Parsed failed(BuildDsn(request).content);
  EXPECT_EQ(failed["to"], "postmaster@example.com");
  EXPECT_EQ(failed["subject"], "Postmaster Copy: Undelivered Mail");
  EXPECT_EQ(failed["status.0.x-mailrace-sender"], "rfc822; alice@example.com");
  EXPECT_EQ(failed["2.type"], "text/rfc822-headers");
  request.kind = request.recipients[0].action = DsnAction::kDelayed;
  EXPECT_EQ(Parsed(BuildDsn(request).content)["subject"], "Postmaster Warning: Delayed Mail");
}

// --- Hostile input -----------------------------------------------------------------

TEST(DsnTest, HostileReplyStaysInItsField) {
  DsnRequest request = Failure();
  const std::string reply =
      "550 no\r\n\r\nFinal-Recipient: rfc822; evil@example.org\r\nAction: delivered\r\n"
      "--R4nd0mB0undaryXyz--\r\n<script>alert(1)</script> \x1b[2J caf\xe9 " +
      std::string(5000, 'A');
  request.recipients[0].reply = reply;
  request.recipients[0].reason = reply;
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_FALSE(dsn.eight_bit);
  EXPECT_LT(dsn.content.size(), 5000u);
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["parts"], "3");
  EXPECT_EQ(parsed["recipients"], "1");
  EXPECT_EQ(parsed["status.1.action"], "failed");
  EXPECT_THAT(parsed["status.1.diagnostic-code"],
              AllOf(StartsWith("smtp; 550 no Final-Recipient: rfc822; evil@example.org"),
                    HasSubstr("?[2J caf? A"), EndsWith("...")));
}

TEST(DsnTest, EveryHostileFieldStaysInItsPlace) {
  const std::string hostile = "x\r\nBcc: victim@example.org\r\n\r\n--R4nd0mB0undaryXyz\r\n" +
                              std::string("\0\x80\xff", 3) + std::string(3000, 'y');
  DsnRequest request = Failure();
  request.reverse_path = hostile;
  request.envid = hostile;
  request.message_id = "<" + hostile + ">";
  request.mail_name = hostile;
  request.hostname = hostile;
  request.original = hostile;
  request.original_octets = hostile.size();
  DsnRecipient& recipient = request.recipients[0];
  recipient.address = recipient.orcpt = recipient.remote_mta = hostile;
  recipient.reply = recipient.reason = hostile;
  for (const bool smtputf8 : {false, true}) {
    request.smtputf8 = smtputf8;
    const Dsn dsn = BuildDsn(request);
    ExpectSound(dsn);
    const Parsed parsed(dsn.content);
    EXPECT_EQ(parsed["bcc"], "(none)");
    EXPECT_EQ(parsed["references"], "(none)");
    EXPECT_EQ(parsed["parts"], "3");
    EXPECT_EQ(parsed["recipients"], "1");
  }
}

TEST(DsnTest, BoundaryWithinTheOriginalIsAvoided) {
  const std::string original =
      "Subject: x\r\n\r\n--R4nd0mB0undaryXyz--\r\n--R4nd0mB0undaryXyz0\r\nafter\r\n";
  DsnRequest request = Failure();
  request.original = original;
  request.original_octets = original.size();
  const Parsed parsed(BuildDsn(request).content);
  EXPECT_EQ(parsed["defects"], "");
  EXPECT_EQ(parsed["parts"], "3");
  EXPECT_THAT(parsed["2.body"], HasSubstr("after"));
}

// Random octets everywhere: the shape holds.
TEST(DsnTest, RandomInputKeepsTheShape) {
  SeededRandom random(11);
  const auto noise = [&random] {
    std::string text(random.Below(400), '\0');
    for (char& c : text) {
      c = random.Below(3) == 0 ? "\r\n \t-:;<>@\0\xc3\xa9"[random.Below(14)]
                               : static_cast<char>(random.NextByte());
    }
    return text;
  };
  for (int round = 0; round < 500; ++round) {
    DsnRequest request = Failure();
    request.smtputf8 = round % 2 == 0;
    request.kind = static_cast<DsnAction>(round % 5);
    request.reverse_path = noise();
    request.envid = noise();
    request.recipients[0].address = noise();
    request.recipients[0].orcpt = noise();
    request.recipients[0].reply = noise();
    request.recipients[0].reason = noise();
    const std::string original = noise();
    request.original = original;
    request.original_octets = original.size();
    ExpectSound(BuildDsn(request));
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

// --- Bounds ------------------------------------------------------------------------

TEST(DsnTest, AThousandRecipientsAreAllReportedWithinBounds) {
  DsnRequest request = Failure();
  request.recipients.clear();
  for (int i = 0; i < 1000; ++i) {
    request.recipients.push_back(Refused("user" + std::to_string(i) + "@example.net"));
    request.recipients.back().reply = "550 5.1.1 " + std::to_string(i) + std::string(5000, 'z');
    request.recipients.back().reason = request.recipients.back().reply;
  }
  const Dsn dsn = BuildDsn(request);
  ExpectSound(dsn);
  EXPECT_EQ(dsn.recipients_reported, 1000u);
  EXPECT_LT(dsn.content.size(), 350'000u);  // 10 MB of replies came in.
  const Parsed parsed(dsn.content);
  EXPECT_EQ(parsed["recipients"], "1000");
  EXPECT_THAT(parsed["status.1000.diagnostic-code"], StartsWith("smtp; 550 5.1.1 999z"));
  EXPECT_THAT(parsed["0.text"], HasSubstr("and 900 more recipients"));
}

TEST(DsnTest, RecipientsBeyondTheLimitAreLeftToAnotherNotification) {
  DsnRequest request = Failure();
  request.recipients.assign(kDsnRecipientsMax + 5, Refused("bob@example.net"));
  EXPECT_EQ(BuildDsn(request).recipients_reported, kDsnRecipientsMax);
}

}  // namespace
}  // namespace mailrace::engine
