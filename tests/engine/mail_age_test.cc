// Clocks that are set: nothing is given up because of it, nothing is kept for ever.
#include "engine/mail_age.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/delivery/delivery_fixture.h"
#include "tests/fakes/memory_logger.h"

namespace mailrace::engine {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::Duration kYears = absl::Hours(24 * 3652);

class MailAgeTest : public testing::Test {
 protected:
  queue::Envelope Accept() {
    ages_.Look();
    queue::Envelope envelope;
    envelope.reverse_path = "sender@app.test";
    envelope.id = ids_.Next(clock_.Wall());
    envelope.arrival = clock_.Wall();
    return envelope;
  }
  queue::Envelope FoundAtStart(absl::Duration age) const {
    queue::Envelope envelope;
    envelope.reverse_path = "sender@app.test";
    envelope.id = {kHighest - 1};
    envelope.arrival = clock_.Wall() - age;
    return envelope;
  }
  absl::Duration Age(const queue::Envelope& envelope) { return ages_.Age(envelope, schedule_); }

  static constexpr uint64_t kHighest = 1'000;
  SimClock clock_;
  QueueIdSource ids_{0, kHighest};
  fakes::MemoryLogger log_;
  MailAge ages_{&clock_, &ids_, kHighest, &log_};
  queue::RetrySchedule schedule_;
};

TEST_F(MailAgeTest, IsTheTimeSinceArrival) {
  const queue::Envelope envelope = Accept();
  EXPECT_EQ(Age(envelope), absl::ZeroDuration());
  clock_.Advance(absl::Hours(5));
  EXPECT_EQ(Age(envelope), absl::Hours(5));
  EXPECT_EQ(ages_.Arrival(envelope, schedule_), envelope.arrival);
  EXPECT_THAT(log_.texts(), IsEmpty());
}

TEST_F(MailAgeTest, NoMailIsOlderThanItsIdMayBeWhateverTheClockDoes) {
  const absl::Duration lifetime = absl::Hours(10);
  schedule_.lifetime = lifetime;
  std::vector<queue::Envelope> mail = {FoundAtStart(absl::Hours(9)), FoundAtStart(absl::Hours(30)),
                                       FoundAtStart(kYears), FoundAtStart(-kYears)};
  const std::vector<absl::Duration> jumps = {absl::Hours(3), -absl::Hours(5), kYears, -kYears,
                                             absl::ZeroDuration()};
  for (int hour = 0; hour < 60; ++hour) {
    mail.push_back(Accept());
    clock_.Advance(absl::Hours(1));
    if (hour % 7 == 0) clock_.JumpWall(jumps[static_cast<size_t>(hour / 7) % jumps.size()]);
    const QueueId bound = ages_.YoungerFrom(lifetime);
    for (const queue::Envelope& each : mail) {
      if (Age(each) >= lifetime) EXPECT_LT(each.id, bound) << hour;
    }
  }
}

TEST_F(MailAgeTest, MailOfTheLastHoursIsYoungerThanItsLifetimeByItsId) {
  Accept();
  clock_.Advance(absl::Hours(20));
  const queue::Envelope young = Accept();
  clock_.Advance(absl::Hours(5));
  EXPECT_LE(ages_.YoungerFrom(absl::Hours(10)), young.id);
}

TEST_F(MailAgeTest, FollowsAClockThatIsSteered) {
  const queue::Envelope envelope = Accept();
  for (int i = 0; i < 600; ++i) {
    clock_.Advance(absl::Seconds(59));
    clock_.JumpWall(absl::Seconds(1));
    ages_.Look();
  }
  EXPECT_EQ(Age(envelope), absl::Hours(10));
  EXPECT_THAT(log_.texts(), IsEmpty());
}

TEST_F(MailAgeTest, GoesOnOverAJumpOfMailFromBeforeAndAfterIt) {
  for (const absl::Duration jump : {kYears, -kYears, absl::Hours(1), -absl::Hours(1)}) {
    const queue::Envelope before = Accept();
    clock_.Advance(absl::Hours(2));
    clock_.JumpWall(jump);
    const queue::Envelope after = Accept();
    clock_.Advance(absl::Hours(3));
    EXPECT_EQ(Age(before), absl::Hours(5)) << jump;
    EXPECT_EQ(Age(after), absl::Hours(3)) << jump;
  }
  EXPECT_THAT(log_.texts(), SizeIs(4));
}

TEST_F(MailAgeTest, OfMailStampedBeforeAJumpAndNamedAfterItCountsFromTheJump) {
  for (const absl::Duration jump : {kYears, -kYears}) {
    const absl::Time stamp = clock_.Wall();
    clock_.JumpWall(jump);
    queue::Envelope envelope = Accept();
    envelope.arrival = stamp;
    clock_.Advance(absl::Hours(3));
    EXPECT_EQ(Age(envelope), absl::Hours(3)) << jump;
  }
}

TEST_F(MailAgeTest, OfMailFoundAtStartIsBelievedUpToADayBeyondItsLifetime) {
  const queue::Envelope young = FoundAtStart(absl::Hours(30));
  const queue::Envelope over = FoundAtStart(schedule_.lifetime + absl::Hours(23));
  EXPECT_EQ(Age(young), absl::Hours(30));
  EXPECT_TRUE(ages_.Expired(over, schedule_));
}

TEST_F(MailAgeTest, OfMailFromAnImpossibleTimeCountsFromTheStart) {
  for (const absl::Duration age : {kYears, -kYears, schedule_.lifetime + absl::Hours(25)}) {
    const queue::Envelope envelope = FoundAtStart(age);
    EXPECT_FALSE(ages_.Expired(envelope, schedule_)) << age;
  }
  const queue::Envelope old = FoundAtStart(kYears);
  clock_.Advance(schedule_.lifetime);
  EXPECT_TRUE(ages_.Expired(old, schedule_));
}

TEST_F(MailAgeTest, SurvivesAClockThatNeverRests) {
  const queue::Envelope first = FoundAtStart(absl::Hours(1));
  for (int i = 0; i < 1'000; ++i) {
    const queue::Envelope envelope = Accept();
    clock_.JumpWall(i % 2 == 0 ? kYears : -kYears);
    clock_.Advance(absl::Seconds(10));
    EXPECT_EQ(Age(envelope), absl::Seconds(10));
  }
  EXPECT_EQ(Age(first), absl::Hours(1) + absl::Seconds(10'000));
}

class SetClockTest : public DeliveryFixture {
 protected:
  size_t Notices() const {
    size_t notices = 0;
    for (const auto& delivery : book_.deliveries) notices += delivery.reverse_path.empty() ? 1 : 0;
    return notices;
  }
};

TEST_F(SetClockTest, NothingIsBouncedWhenTheClockLeapsWhileRunning) {
  for (const absl::Duration jump : {kYears, -kYears}) {
    Start();
    Answer(Step::kMail, "451 4.3.0 later");
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Hours(1));
    host_->clock().JumpWall(jump);
    Submit(To({"b@example.com"}));
    host_->RunFor(absl::Hours(48));
    EXPECT_EQ(Queued(), 2u);
    EXPECT_EQ(stats().expired.value(), 0u);
    // Tried all the time, and given up when its time has come.
    host_->RunFor(absl::Hours(76));
    EXPECT_EQ(stats().expired.value(), 2u);
    Answer(Step::kMail, "250 2.1.0 ok");
    host_->RunFor(absl::Hours(2));
    start_ = host_->clock().Wall();
  }
  EXPECT_EQ(Notices(), 4u);
}

TEST_F(SetClockTest, NothingIsBouncedWhenTheClockLeapsOverARestart) {
  for (const absl::Duration jump : {kYears, -kYears}) {
    Start();
    Answer(Step::kMail, "451 4.3.0 later");
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Hours(1));
    start_ = host_->clock().Wall() + jump;
    Start();
    host_->RunFor(absl::Hours(100));
    EXPECT_EQ(Queued(), 1u);
    EXPECT_EQ(stats().expired.value(), 0u);
    host_->RunFor(absl::Hours(24));
    EXPECT_EQ(stats().expired.value(), 1u);
    Answer(Step::kMail, "250 2.1.0 ok");
    host_->RunFor(absl::Hours(2));
    EXPECT_EQ(Queued(), 0u);
    start_ = host_->clock().Wall();
  }
}

TEST_F(SetClockTest, ADestinationThatIsDeadKeepsItsMailOverALeap) {
  Start();
  host_->network().SetRefused(sim::RelayAddress(), true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Hours(1));
  host_->clock().JumpWall(kYears);
  host_->RunFor(absl::Hours(48));
  EXPECT_EQ(Queued(), 1u);
  host_->network().SetRefused(sim::RelayAddress(), false);
  host_->RunFor(absl::Hours(1));
  EXPECT_EQ(delivered(), 1u);
}

}  // namespace
}  // namespace mailrace::engine
