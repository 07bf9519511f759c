// What a shard has listed as in flight at each moment of a delivery (invariant I3): all
// whom the relay may have taken mail for, until that is on the disk, and nobody else.
#include "engine/flight_journal.h"

#include "engine/possible_duplicates.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Flights : public DeliveryFixture {
 protected:
  Flights() {
    Start();
    host_->shard().mutable_context()->flights = &journal_;
  }
  // The host's last outcomes still clear slots.
  ~Flights() override { host_.reset(); }
  std::vector<FlightRecord::Flight> Listed() const {
    const absl::StatusOr<FlightRecord> record = ReadFlights(region_);
    EXPECT_TRUE(record.ok());
    return record.ok() ? record->flights : std::vector<FlightRecord::Flight>();
  }
  // The relay takes the message and says nothing.
  void SilenceAt(Step step) {
    script_ = [step](Step now, std::string_view) -> std::optional<Act> {
      if (now != step) return std::nullopt;
      return Act{Act::Kind::kSilence, "", step == Step::kEndOfData};
    };
  }
  PossibleDuplicates Found() {
    EarlierFlights earlier;
    earlier.flights = Listed();
    return FindPossibleDuplicates(earlier, &store_, settings_);
  }

  std::string region_ = std::string(FlightJournal::kOctets, '\0');
  FlightJournal journal_{{region_.data(), region_.size()}, BootId{1}};
};

TEST_F(Flights, AnUnansweredEndOfDataIsListedWithItsRecipients) {
  SilenceAt(Step::kEndOfData);
  const QueueId id = Submit(To({"a@example.com", "b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_THAT(Listed(), SizeIs(1));
  EXPECT_EQ(Listed()[0].id, id);
  EXPECT_THAT(Listed()[0].recipients, ElementsAre(0u, 1u));
}

TEST_F(Flights, BeforeTheEndOfDataNothingIsListed) {
  for (const Step step : {Step::kMail, Step::kRcpt, Step::kData}) {
    SilenceAt(step);
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
    EXPECT_THAT(Listed(), IsEmpty());
  }
}

TEST_F(Flights, WhoWasRefusedAtRcptIsNotListed) {
  script_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step == Step::kRcpt && argument.find("b@") != std::string_view::npos) {
      return Act{Act::Kind::kReply, "450 4.2.1 later"};
    }
    if (step == Step::kEndOfData) return Act{Act::Kind::kSilence, "", true};
    return std::nullopt;
  };
  Submit(To({"a@example.com", "b@example.com", "c@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_THAT(Listed(), SizeIs(1));
  EXPECT_THAT(Listed()[0].recipients, ElementsAre(0u, 2u));
}

TEST_F(Flights, TheReplyDoesNotClearItButTheDiskDoes) {
  size_t groups = 0;
  host_->committer().OnCommitted([&](std::span<const queue::WriteSet* const>) {
    // The second group has the outcome; its shard has not heard of it yet.
    if (++groups == 2) {
      EXPECT_EQ(delivered(), 1u);
      EXPECT_EQ(journal_.recipients(), 1u);
    }
  });
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(groups, 2u);
  EXPECT_TRUE(journal_.empty());
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(Flights, EveryTransactionOfAMessageHasItsOwnRecipients) {
  settings_.limits.recipient_limit = 2;
  Reload();
  size_t most = 0;
  host_->committer().OnCommitted(
      [&](std::span<const queue::WriteSet* const>) { most = std::max(most, Listed().size()); });
  Submit(To({"a@example.com", "b@example.com", "c@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(DeliveredTo().size(), 3u);
  EXPECT_GE(most, 1u);
  EXPECT_TRUE(journal_.empty());
}

TEST_F(Flights, ARefusalAtTheEndClearsItAtOnce) {
  Answer(Step::kEndOfData, "451 4.3.0 later");
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(stats().deferred.value(), 1u);
  EXPECT_TRUE(journal_.empty());
}

TEST_F(Flights, ALostReplyIsListedUntilTheDeferralThatSaysSoIsDurable) {
  script_ = [](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    return Act{Act::Kind::kDrop, "", true};
  };
  uint64_t at_commit = 0;
  host_->committer().OnCommitted(
      [&](std::span<const queue::WriteSet* const>) { at_commit = journal_.recipients(); });
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(at_commit, 1u);
  EXPECT_EQ(stats().uncertain.value(), 1u);
  EXPECT_TRUE(journal_.empty());
}

TEST_F(Flights, AnExpiredMessageWhoseReplyWasLostIsClearedWithItsNotice) {
  settings_.retry.lifetime = absl::ZeroDuration();
  Reload();
  SilenceAt(Step::kEndOfData);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(journal_.recipients(), 1u);
  script_ = nullptr;
  host_->RunFor(absl::Hours(1));
  EXPECT_TRUE(journal_.empty());
}

TEST_F(Flights, NothingStaysListedWhateverTheRelayDoes) {
  settings_.limits.recipient_limit = 3;
  Reload();
  int step_count = 0;
  script_ = [&step_count](Step step, std::string_view) -> std::optional<Act> {
    if (++step_count % 7 != 0) return std::nullopt;
    switch (step_count / 7 % 4) {
      case 0:
        return Act{Act::Kind::kDrop, "", step == Step::kEndOfData};
      case 1:
        return Act{Act::Kind::kReply, "451 4.3.0 later"};
      case 2:
        return Act{Act::Kind::kReplyAndHang, "421 4.3.2 bye"};
      default:
        return Act{Act::Kind::kReply, "554 5.6.0 never"};
    }
  };
  for (int i = 0; i < 40; ++i) {
    Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com"}));
  }
  host_->RunFor(absl::Hours(30));
  EXPECT_EQ(Queued(), 0u);
  EXPECT_GT(stats().uncertain.value(), 0u);
  EXPECT_TRUE(journal_.empty());
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(Flights, AStartNamesWhomItMaySendTwiceByIdAndAddress) {
  SilenceAt(Step::kEndOfData);
  const QueueId id = Submit(To({"a@example.com", "b@example.com"}));
  host_->RunFor(absl::Seconds(1));
  const PossibleDuplicates found = Found();
  EXPECT_EQ(found.recipients, 2u);
  EXPECT_TRUE(found.exact);
  EXPECT_EQ(SummaryLine(found),
            "2 recipients of 1 messages may be delivered twice: " + id.ToString());
  ASSERT_THAT(found.messages, SizeIs(1));
  EXPECT_EQ(MessageLine(found.messages[0]),
            id.ToString() +
                ": to=<a@example.com>, to=<b@example.com>: message may be sent more than once");
}

TEST_F(Flights, WhoseOutcomeReachedTheDiskIsNotNamed) {
  // The process dies between the sync and the moment that its shard hears of it.
  std::vector<std::string> copies;
  host_->committer().OnCommitted(
      [&](std::span<const queue::WriteSet* const>) { copies.push_back(region_); });
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(5));
  ASSERT_THAT(copies, SizeIs(2));
  region_ = copies.back();
  ASSERT_THAT(Listed(), SizeIs(1));
  EXPECT_EQ(SummaryLine(Found()), "0 recipients may be delivered twice");
}

TEST_F(Flights, AMessageThatIsRemovedIsNoLongerCarried) {
  settings_.delivery_deferred = true;
  Reload();
  const QueueId id = Submit(To({"a@example.com"}));
  journal_.Carry(id, std::vector<uint32_t>{0});
  settings_.delivery_deferred = false;
  Reload();
  host_->RunFor(absl::Seconds(5));
  EXPECT_EQ(delivered(), 1u);
  EXPECT_TRUE(journal_.empty());
}

TEST(PossibleDuplicatesTest, AListThatMayBeOldSaysWhatBoundsIt) {
  queue::MemoryStore store;
  Settings settings;
  settings.limits.concurrency_limit = 10;
  settings.limits.recipient_limit = 50;
  EarlierFlights earlier;
  earlier.complete = false;
  const PossibleDuplicates found = FindPossibleDuplicates(earlier, &store, settings);
  EXPECT_FALSE(found.exact);
  ASSERT_THAT(found.doubt, SizeIs(2));
  EXPECT_THAT(found.doubt[0], HasSubstr("started anew"));
  EXPECT_THAT(found.doubt[1],
              HasSubstr("at most 16000 recipients for each next-hop (10 sessions x 32 "
                        "transactions x 50 recipients)"));
  settings.tolerance.window_max = 0;
  EXPECT_THAT(FindPossibleDuplicates(earlier, &store, settings).doubt[1],
              HasSubstr("at most 1000 recipients for each next-hop"));
  settings.limits.concurrency_limit = 0;
  EXPECT_THAT(FindPossibleDuplicates(earlier, &store, settings).doubt[1],
              HasSubstr("sets no limit"));
}

TEST(PossibleDuplicatesTest, UnnamedRecipientsCount) {
  queue::MemoryStore store;
  EarlierFlights earlier;
  earlier.unnamed_recipients = 7;
  const PossibleDuplicates found = FindPossibleDuplicates(earlier, &store, Settings());
  EXPECT_EQ(found.recipients, 7u);
  EXPECT_THAT(SummaryLine(found), HasSubstr("and 7 recipients of messages that are not known"));
}

}  // namespace
}  // namespace mailrace::engine
