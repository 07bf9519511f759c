// Whom a client may take for refused, at a relay that says more than it was asked.
#include "tests/sim/world/heard_replies.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HeardRepliesTest : public testing::Test {
 protected:
  HeardRepliesTest() {
    heard_.Said("220 relay.test ESMTP");
    Talk("EHLO", "", "250-relay.test\r\n250 PIPELINING");
  }
  void Talk(const char* verb, const char* path, const char* replies) {
    heard_.Asked(verb, path);
    heard_.Said(replies);
  }

  HeardReplies heard_;
};

TEST_F(HeardRepliesTest, InStepNobodyElseIsRefused) {
  Talk("MAIL", "s", "250 2.1.0 ok");
  Talk("RCPT", "a", "550 5.1.1 no");
  Talk("RCPT", "b", "250 2.1.5 ok");
  Talk("DATA", "", "550 5.7.1 no");
  heard_.Closed();
  EXPECT_THAT(heard_.refused().recipients, IsEmpty());
  EXPECT_THAT(heard_.refused().senders, IsEmpty());
}

TEST_F(HeardRepliesTest, AReplyTooManyMakesEachThatFollowsLate) {
  Talk("MAIL", "s", "250 2.1.0 ok\r\n250 2.1.0 once more");
  EXPECT_FALSE(heard_.late());
  Talk("RCPT", "a", "451 4.7.1 later");
  EXPECT_TRUE(heard_.late());
  Talk("RCPT", "b", "250 2.1.5 ok");
  EXPECT_TRUE(heard_.late());
}

TEST_F(HeardRepliesTest, AReplyTooManyRefusesTheNextRecipient) {
  Talk("MAIL", "s", "250 2.1.0 ok\r\n250 2.1.0 once more");
  Talk("RCPT", "a", "550 5.1.1 no");
  Talk("RCPT", "b", "451 4.7.1 later");
  Talk("DATA", "", "554 5.5.1 no valid recipients");
  EXPECT_THAT(heard_.refused().recipients, ElementsAre("b"));
}

TEST_F(HeardRepliesTest, WhoIsRefusedByTheReplyToDataAreThoseThatSeemedAccepted) {
  Talk("MAIL", "s", "250 2.1.0 ok");
  Talk("RCPT", "a", "250 2.1.5 ok\r\n250 2.1.5 once more");
  Talk("RCPT", "b", "550 5.1.1 no");
  heard_.Asked("DATA");
  EXPECT_THAT(heard_.refused().recipients, ElementsAre("a", "b"));
}

TEST_F(HeardRepliesTest, NothingIsBelievedOfATransactionThatIsContradicted) {
  Talk("MAIL", "s", "250 2.1.0 ok\r\n250 2.1.0 once more");
  Talk("RCPT", "a", "550 5.1.1 no");
  Talk("RCPT", "b", "250 2.1.5 ok");
  Talk("DATA", "", "354 go ahead");
  heard_.Closed();
  EXPECT_THAT(heard_.refused().recipients, IsEmpty());
}

TEST_F(HeardRepliesTest, AWordAboutTheDialogueIsNoRefusal) {
  Talk("MAIL", "s", "250 2.1.0 ok\r\n250 2.1.0 once more");
  Talk("RCPT", "a", "503 5.5.1 MAIL first");
  Talk("RCPT", "b", "503 5.5.1 MAIL first");
  heard_.Closed();
  EXPECT_THAT(heard_.refused().recipients, IsEmpty());
}

TEST_F(HeardRepliesTest, TheNextMessageIsRefusedByTheRestOfTheLast) {
  Talk("MAIL", "s", "250 2.1.0 ok");
  Talk("RCPT", "a", "250 2.1.5 ok");
  Talk("DATA", "", "354 go ahead");
  Talk(".", "", "250 2.0.0 queued\r\n550 5.7.1 and no");
  Talk("MAIL", "t", "250 2.1.0 ok");
  heard_.Closed();
  EXPECT_THAT(heard_.refused().senders, ElementsAre("t"));
}

TEST_F(HeardRepliesTest, ContentInChunksIsBelievedInTheRightWordsOnly) {
  Talk("MAIL", "s", "250 2.1.0 ok");
  Talk("RCPT", "a", "250 2.0.0 ok\r\n250 2.1.5 once more");
  Talk("RCPT", "b", "550 5.1.1 no");
  heard_.Asked("BDAT LAST");
  EXPECT_THAT(heard_.refused().recipients, IsEmpty());
}

}  // namespace
}  // namespace mailrace::sim
