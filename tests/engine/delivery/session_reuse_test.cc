// Sessions with a relay: used again while there is mail, dropped at their limits.
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class SessionReuse : public DeliveryFixture {
 protected:
  // One session at a time, so that counts are exact.
  SessionReuse() {
    settings_.limits.initial_concurrency = 1;
    settings_.limits.concurrency_limit = 1;
  }
};

TEST_F(SessionReuse, OneMessageArrivesAndIsGone) {
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
  EXPECT_EQ(book_.deliveries[0].content, "Subject: x\r\n\r\nhello\r\n");
  EXPECT_EQ(Queued(), 0u);
  EXPECT_THAT(Stored(), IsEmpty());
  EXPECT_THAT(Logged("status=sent (250 2.0.0 queued)"), SizeIs(1));
  EXPECT_EQ(stats().memory_octets.value(), 0u);
  EXPECT_EQ(stats().uncommitted_outcomes.value(), 0u);
}

TEST_F(SessionReuse, EachDeliveryIsLoggedWithItsOwnNumberOnTheConnection) {
  Start();
  // All at once, so that the next one is taken before the one before it is answered.
  for (int i = 0; i < 3; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(host_->network().connects(), 1u);
  EXPECT_THAT(Logged("status=sent"), SizeIs(3));
  EXPECT_THAT(Logged("conn_use=2,"), SizeIs(1));
  EXPECT_THAT(Logged("conn_use=3,"), SizeIs(1));
}

TEST_F(SessionReuse, MailThatFollowsSoonGoesOverTheSameConnection) {
  Start();
  for (int i = 0; i < 5; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
  }
  EXPECT_EQ(delivered(), 5u);
  EXPECT_EQ(host_->network().connects(), 1u);
  EXPECT_EQ(stats().sessions_reused.value(), 4u);
}

TEST_F(SessionReuse, AnIdleSessionIsClosedAfterItsTime) {
  settings_.connection_cache_time_limit = absl::Seconds(2);
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(stats().sessions_open.value(), 1u);
  host_->RunFor(absl::Seconds(3));
  EXPECT_EQ(stats().sessions_open.value(), 0u);
  EXPECT_EQ(host_->relay().sessions_open(), 0u);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(host_->network().connects(), 2u);
}

TEST_F(SessionReuse, TheCountLimitEndsASession) {
  settings_.connection_reuse_count_limit = 2;
  Start();
  for (int i = 0; i < 6; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 6u);
  EXPECT_EQ(host_->network().connects(), 3u);
}

TEST_F(SessionReuse, ASessionThatHasHadItsShareChargesNobody) {
  Start();
  // OpenSMTPD: so many messages a session, then 452 to each further MAIL.
  script_ = [this](Step step, std::string_view) -> std::optional<Act> {
    const size_t share = 3 * host_->network().connects();
    if (step != Step::kMail || delivered() < share) return std::nullopt;
    return Act{Act::Kind::kReply, "452 4.5.3 Too many recipients: Too many messages sent", false};
  };
  for (int i = 0; i < 10; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 10u);
  EXPECT_EQ(host_->network().connects(), 4u);
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
  EXPECT_THAT(Stored(), IsEmpty());
}

TEST_F(SessionReuse, AServerThatTakesNoMoreFromAnybodyIsBelievedOnANewSession) {
  Start();
  script_ = [this](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail || delivered() < 3) return std::nullopt;
    return Act{Act::Kind::kReply, "452 4.5.3 too many messages this hour", false};
  };
  for (int i = 0; i < 10; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 3u);
  EXPECT_THAT(Logged("status=deferred (host"), SizeIs(7));
  EXPECT_LE(host_->network().connects(), 8u) << "a refusal on a new session ends the asking";
}

TEST_F(SessionReuse, TheTimeLimitEndsASession) {
  settings_.connection_reuse_time_limit = absl::Seconds(3);
  Start();
  for (int i = 0; i < 6; ++i) {
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
  }
  EXPECT_EQ(delivered(), 6u);
  EXPECT_EQ(host_->network().connects(), 2u);
}

TEST_F(SessionReuse, WithoutReuseEveryMessageHasItsOwn) {
  settings_.connection_reuse = false;
  Start();
  for (int i = 0; i < 3; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 3u);
  EXPECT_EQ(host_->network().connects(), 3u);
}

TEST_F(SessionReuse, ASessionThatDiedIdleChargesNobody) {
  settings_.connection_cache_time_limit = absl::Seconds(60);
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  host_->relay().CloseSessions();
  host_->RunFor(absl::Seconds(1));
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 2u);
  EXPECT_EQ(stats().deferred.value(), 0u);
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
}

TEST_F(SessionReuse, AnIdleSessionThatWasDroppedAtTheNextMailMovesTheMessageUncharged) {
  settings_.connection_cache_time_limit = absl::Seconds(60);
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  // The server forgot the connection; only the next command finds out.
  bool dropped = false;
  script_ = [&dropped](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail || std::exchange(dropped, true)) return std::nullopt;
    return Act{Act::Kind::kDrop, "", false};
  };
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_TRUE(dropped);
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com", "b@example.com"));
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
}

TEST_F(SessionReuse, AfterAReloadOldSessionsTakeNoNewMail) {
  settings_.connection_cache_time_limit = absl::Seconds(60);
  Start();
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  Reload();
  Submit(To({"b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 2u);
  EXPECT_EQ(host_->network().connects(), 2u);
}

TEST_F(SessionReuse, TheWindowBoundsSessions) {
  settings_.limits.initial_concurrency = 2;
  settings_.limits.concurrency_limit = 2;
  Start();
  script_ = [](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kGreeting) return std::nullopt;
    return Act{Act::Kind::kSilence, "", false};
  };
  for (int i = 0; i < 10; ++i) Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(host_->network().connects(), 2u);
}

}  // namespace
}  // namespace mailrace::engine
