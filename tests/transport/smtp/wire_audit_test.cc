// The watch over all dialogues is watched: each lie of a client is seen.
#include "wire_audit.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::transport::smtp {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class WireAuditTest : public testing::Test {
 protected:
  WireAuditTest() : audit_({"tanstaaf"}) {
    audit_.Server("220 server ESMTP\r\n");
    audit_.Client("EHLO client.example\r\n");
    audit_.Server("250-server\r\n250 PIPELINING\r\n");
  }
  // "C: " and "S: " lines in turn.
  void Client(const char* octets) { audit_.Client(octets); }
  void Server(const char* octets) { audit_.Server(octets); }
  void Envelope() {
    Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    Server("250 ok\r\n250 ok\r\n");
  }
  void ExpectProblem(const char* words) {
    EXPECT_THAT(audit_.problems(), Contains(HasSubstr(words)));
  }

  WireAudit audit_;
};

TEST_F(WireAuditTest, FindsNothingInGoodDialogues) {
  Client("AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n");
  Server("235 welcome\r\n");
  Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n");
  Server("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
  Client("Hello\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
  Server("250 queued\r\n550 no\r\n503 no\r\n354 go\r\n");
  Client(".\r\n");
  Server("554 nobody\r\n");
  Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\nRSET\r\n");
  Server("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n");
  Client("QUIT\r\n");
  EXPECT_THAT(audit_.problems(), IsEmpty());
}

TEST_F(WireAuditTest, SeesABareLineFeed) {
  Client("MAIL FROM:<a@b>\n\r\n");
  ExpectProblem("a bare LF");
}

TEST_F(WireAuditTest, SeesABareCarriageReturnInContent) {
  Envelope();
  Client("DATA\r\n");
  Server("354 go\r\n");
  Client("Hel\rlo\r\n.\r\n");
  ExpectProblem("a bare CR");
}

TEST_F(WireAuditTest, SeesASecondEndOfData) {
  Envelope();
  Client("DATA\r\n");
  Server("354 go\r\n");
  Client("Hello\r\n.\r\n.\r\n");
  ExpectProblem("no command: .");
}

TEST_F(WireAuditTest, SeesASecondLastChunk) {
  Envelope();
  Client("BDAT 2 LAST\r\n\r\nBDAT 0 LAST\r\n");
  ExpectProblem("BDAT 0 LAST behind the end");
}

TEST_F(WireAuditTest, SeesContentThatNobodyAskedFor) {
  Envelope();
  Client("DATA\r\n");
  Server("451 later\r\n");
  Client("Hello\r\n.\r\n");
  ExpectProblem("no command: Hello");
}

TEST_F(WireAuditTest, SeesContentForNobody) {
  Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
  Server("250 ok\r\n550 no\r\n354 go\r\n");
  Client("Hello\r\n.\r\n");
  ExpectProblem("content for nobody");
}

TEST_F(WireAuditTest, SeesWhatIsSaidBehindARefusal) {
  Client("MAIL FROM:<a@b>\r\n");
  Server("550 no\r\n");
  Client("RCPT TO:<c@d>\r\n");
  ExpectProblem("RCPT TO:<c@d> behind a MAIL that was refused");
}

TEST_F(WireAuditTest, SeesAChunkBehindTheRefusalOfAll) {
  Client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
  Server("250 ok\r\n550 no\r\n");
  Client("BDAT 2 LAST\r\n\r\n");
  ExpectProblem("BDAT 2 LAST for nobody");
}

TEST_F(WireAuditTest, SeesMailBehindARefusedAuth) {
  Client("AUTH PLAIN AHRpbQB0YW5zdGFhZg==\r\n");
  Server("535 no\r\n");
  Client("MAIL FROM:<a@b>\r\n");
  ExpectProblem("behind an AUTH that was refused");
}

TEST_F(WireAuditTest, SeesWhatIsSaidToWhoHasGone) {
  Client("MAIL FROM:<a@b>\r\n");
  Server("421 bye\r\n");
  Client("QUIT\r\n");
  ExpectProblem("QUIT behind a 421");
}

TEST_F(WireAuditTest, SeesWhatIsSaidBehindGarbageAndWordsOutOfTurn) {
  Server("250 what\r\n");
  Client("MAIL FROM:<a@b>\r\n");
  ExpectProblem("behind a 250 out of turn");
  Server("%%%\r\n");
  Client("QUIT\r\n");
  ExpectProblem("QUIT behind garbage");
}

TEST_F(WireAuditTest, SeesASecretOutsideOfAuth) {
  Client("MAIL FROM:<tanstaaf@b>\r\n");
  ExpectProblem("a secret outside of AUTH");
}

}  // namespace
}  // namespace mailrace::transport::smtp
