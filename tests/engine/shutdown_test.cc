// How a shard ends and how it changes its configuration, whatever is going on meanwhile.
#include "engine/shard.h"
#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ShutdownTest : public DeliveryFixture {
 protected:
  void SilenceAt(Step step) {
    script_ = [step](Step now, std::string_view) -> std::optional<Act> {
      if (now != step) return std::nullopt;
      return Act{Act::Kind::kSilence, "", step == Step::kEndOfData};
    };
  }
  static Task<void> Join(Shard* shard, MonoTime deadline) { co_await shard->Join(deadline); }
  // How long the shard's end takes after Drain() or Cancel(), with an hour's grace.
  absl::Duration TimeToEnd() {
    const MonoTime begun = host_->loop().now();
    host_->Run(Join(&host_->shard(), begun + absl::Hours(1)));
    return host_->loop().now() - begun;
  }
};

TEST_F(ShutdownTest, SessionsBeingMadeAreGivenUpAndTheirMailIsNotCharged) {
  for (const Step step : {Step::kGreeting, Step::kEhlo}) {
    Restart();
    SilenceAt(step);
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
    host_->shard().Drain();
    EXPECT_LT(TimeToEnd(), absl::Seconds(1));
    ASSERT_FALSE(Stored().empty());
    for (const auto& message : Stored()) EXPECT_FALSE(message.has_retry);
  }
  EXPECT_THAT(Logged("status=deferred"), IsEmpty());
}

TEST_F(ShutdownTest, LookupsAreGivenUp) {
  settings_.relayhost = "relay.test:25";
  Start();
  host_->resolver().set_delay(absl::Seconds(50));
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  host_->shard().Drain();
  EXPECT_LT(TimeToEnd(), absl::Seconds(1));
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(ShutdownTest, AFinalReplyIsAwaited) {
  Start();
  bool late = false;
  script_ = [&](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData) return std::nullopt;
    late = true;
    return Act{Act::Kind::kSilence, "", true};
  };
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  ASSERT_TRUE(late);
  host_->shard().Drain();
  // Nobody cut it off: it took the time that an end of data may take.
  EXPECT_GE(TimeToEnd(), absl::Minutes(9));
}

TEST_F(ShutdownTest, NoFurtherTransactionOfAMessageIsBegun) {
  settings_.limits.recipient_limit = 1;
  Start();
  host_->network().SetRefused(sim::RelayAddress(), false);
  bool drained = false;
  script_ = [&](Step step, std::string_view) -> std::optional<Act> {
    if (step == Step::kEndOfData && !std::exchange(drained, true)) host_->shard().Drain();
    return std::nullopt;
  };
  Submit(To({"a@example.com", "b@example.com", "c@example.com", "d@example.com"}));
  host_->RunUntil([&] { return drained; }, absl::Minutes(1));
  TimeToEnd();
  // One was at its end; the next one's commands may have travelled behind it.
  EXPECT_LE(delivered(), 2u);
  EXPECT_GE(delivered(), 1u);
  ASSERT_THAT(Stored(), SizeIs(1));
  EXPECT_EQ(Stored()[0].done_indices.size(), delivered());
}

TEST_F(ShutdownTest, WhatWasCutOffBeforeItsEndIsNotCharged) {
  for (const Step step : {Step::kMail, Step::kRcpt, Step::kData}) {
    Restart();
    SilenceAt(step);
    Submit(To({"a@example.com"}));
    host_->RunFor(absl::Seconds(1));
    host_->shard().Cancel();
    EXPECT_LT(TimeToEnd(), absl::Seconds(1));
    for (const auto& message : Stored()) EXPECT_FALSE(message.has_retry);
  }
  EXPECT_EQ(stats().uncertain.value(), 0u);
}

TEST_F(ShutdownTest, TheRecordOfWhatWasCutOffIsStillWritten) {
  Start();
  SilenceAt(Step::kEndOfData);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Seconds(1));
  host_->shard().Cancel();
  EXPECT_LT(TimeToEnd(), absl::Seconds(2));
  ASSERT_THAT(Stored(), SizeIs(1));
  EXPECT_EQ(Stored()[0].retry.attempts, 1u);
}

TEST_F(ShutdownTest, AFullDiskKeepsNobodyAfterTheGraceTime) {
  Start();
  store_.FailCommits(0, absl::OkStatus());
  Submit(To({"a@example.com"}));
  store_.FailCommits(1'000'000, absl::ResourceExhaustedError("No space left on device"));
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 1u);
  host_->shard().Drain();
  EXPECT_EQ(TimeToEnd(), absl::Hours(1));
  host_->shard().Cancel();
  EXPECT_EQ(TimeToEnd(), absl::Seconds(1));
}

class ReloadTest : public ShutdownTest {};

TEST_F(ReloadTest, WhatADeadDestinationKeptWaitingIsTriedAtOnce) {
  Start();
  host_->network().SetRefused(sim::RelayAddress(), true);
  Submit(To({"a@example.com"}));
  host_->RunFor(absl::Minutes(30));
  host_->network().SetRefused(sim::RelayAddress(), false);
  host_->RunFor(absl::Seconds(1));
  ASSERT_EQ(delivered(), 0u);
  Reload();
  host_->RunFor(absl::Seconds(1));
  EXPECT_EQ(delivered(), 1u);
}

TEST_F(ReloadTest, ASessionBeingMadeLivesByOneConfigurationHoweverManyComeMeanwhile) {
  settings_.relayhost = "relay.test:25";
  Start();
  host_->resolver().set_delay(absl::Seconds(10));
  Submit(To({"a@example.com"}));
  // During the lookup of exchangers, and twice during that of addresses.
  for (int i = 0; i < 4; ++i) {
    host_->RunFor(absl::Seconds(6));
    Reload();
  }
  host_->RunFor(absl::Minutes(1));
  EXPECT_THAT(DeliveredTo(), ElementsAre("a@example.com"));
}

}  // namespace
}  // namespace mailrace::engine
