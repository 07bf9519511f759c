// Messages streamed by BDAT to a relay that offers CHUNKING (RFC 3030), and what is learned of
// one that cannot stand it.
#include <algorithm>

#include "tests/engine/delivery/delivery_fixture.h"

namespace mailrace::engine {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Streaming : public DeliveryFixture {
 protected:
  Streaming() {
    settings_.limits.initial_concurrency = 1;
    settings_.limits.concurrency_limit = 1;
    settings_.connection_cache_time_limit = absl::Seconds(60);
  }
  void StartWithChunking() {
    Start();
    host_->relay().set_keywords(
        {"PIPELINING", "CHUNKING", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES"});
    // A slow greeting, so that the mail is there when the session is.
    script_ = [this](Step step, std::string_view argument) -> std::optional<Act> {
      if (step == Step::kGreeting) {
        Act slow{Act::Kind::kUsual};
        slow.delay = absl::Seconds(3);
        return slow;
      }
      return then_ == nullptr ? std::nullopt : then_(step, argument);
    };
  }
  void SubmitMany(int n) {
    for (int i = 0; i < n; ++i) Submit(To({"a@example.com"}));
  }
  // Behind those that it takes to know the relay, and before others: by BDAT.
  void SubmitAmidst(const std::string& content) {
    SubmitMany(4);
    Submit(To({"a@example.com"}), content);
    SubmitMany(4);
  }
  int64_t Arrived(const std::string& content) const {
    return std::count_if(book_.deliveries.begin(), book_.deliveries.end(),
                         [&](const auto& delivery) { return delivery.content == content; });
  }

  sim::SimRelay::Script then_;  // Behind the greeting.
};

TEST_F(Streaming, ContentGoesByBdatAsItIs) {
  StartWithChunking();
  const std::string content = "Subject: x\r\n\r\n.\r\n..dots\r\n";
  SubmitAmidst(content);
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 9u);
  EXPECT_EQ(Arrived(content), 1);
  EXPECT_GE(book_.chunks, 5u);
  EXPECT_THAT(book_.violations, IsEmpty());
}

TEST_F(Streaming, ALargeMessageGoesInChunks) {
  StartWithChunking();
  std::string content = "Subject: x\r\n\r\n";
  while (content.size() < 1'000'000) content += std::string(70, '.') + "\r\n";
  SubmitAmidst(content);
  host_->RunFor(absl::Seconds(5));
  ASSERT_EQ(delivered(), 9u);
  EXPECT_EQ(Arrived(content), 1);
  EXPECT_GT(book_.chunks, 15u);
}

TEST_F(Streaming, AMessageAloneGoesByData) {
  StartWithChunking();
  for (int i = 0; i < 10; ++i) {
    SubmitMany(1);
    host_->RunFor(absl::Seconds(5));
  }
  EXPECT_EQ(delivered(), 10u);
  EXPECT_EQ(book_.chunks, 0u);
}

TEST_F(Streaming, EveryMessageOfAStreamArrivesOnce) {
  StartWithChunking();
  SubmitMany(500);
  host_->RunFor(absl::Seconds(20));
  EXPECT_EQ(delivered(), 500u);
  // The first two by DATA, the last perhaps.
  EXPECT_GE(book_.chunks, 497u);
  EXPECT_EQ(host_->network().connects(), 1u);
  EXPECT_THAT(book_.violations, IsEmpty());
  EXPECT_EQ(Queued(), 0u);
}

TEST_F(Streaming, WhatAStreamMayHaveDeliveredIsListedWhenTheProcessDies) {
  StartWithChunking();
  int mails = 0;
  then_ = [&mails](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail || ++mails < 70) return std::nullopt;
    return Act{Act::Kind::kSilence};
  };
  SubmitMany(100);
  host_->RunFor(absl::Seconds(5));
  const uint64_t bound = host_->flights().bound;
  EXPECT_GE(bound, 2u);
  EXPECT_LE(bound, settings_.tolerance.window_max);
}

TEST_F(Streaming, ARelayThatKnowsNoBdatGetsDataAndNobodyIsCharged) {
  StartWithChunking();
  then_ = [this](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData || book_.chunks == 0) return std::nullopt;
    book_.chunks = 0;
    return Act{Act::Kind::kReply, "502 5.5.1 BDAT unknown"};
  };
  SubmitMany(5);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 5u);
  EXPECT_EQ(stats().deferred.value(), 0u);
  EXPECT_EQ(stats().failed.value(), 0u);
  EXPECT_THAT(Logged("was spoken to ahead of its replies"), SizeIs(1));
  EXPECT_THAT(Logged("for 1h it gets one message at a time, and no BDAT"), SizeIs(1));
}

TEST_F(Streaming, WhatWasLearnedIsForgottenInTime) {
  settings_.tolerance.memory = absl::Minutes(10);
  StartWithChunking();
  bool said = false;
  then_ = [this, &said](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kEndOfData || book_.chunks == 0 || std::exchange(said, true)) {
      return std::nullopt;
    }
    return Act{Act::Kind::kReply, "502 5.5.1 BDAT unknown"};
  };
  SubmitMany(5);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 5u);
  EXPECT_EQ(book_.chunks, 1u);  // The refused one.
  SubmitMany(5);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(book_.chunks, 1u);
  host_->RunFor(absl::Minutes(10));
  SubmitMany(5);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 15u);
  EXPECT_GT(book_.chunks, 1u);
}

TEST_F(Streaming, ARelayThatDropsAStreamCostsNoMoreThanItsWindow) {
  StartWithChunking();
  int mails = 0;
  then_ = [&mails](Step step, std::string_view) -> std::optional<Act> {
    if (step != Step::kMail || ++mails != 12) return std::nullopt;
    return Act{Act::Kind::kDrop};
  };
  SubmitMany(40);
  host_->RunFor(absl::Seconds(30));
  const uint64_t uncertain = stats().uncertain.value();
  EXPECT_GE(uncertain, 1u);
  EXPECT_LE(uncertain, settings_.tolerance.window_max);
  EXPECT_EQ(delivered() + uncertain, 40u);
  EXPECT_THAT(Logged("for 1h it gets one message at a time"), SizeIs(1));
  EXPECT_THAT(Logged("status=deferred"), Each(HasSubstr("message may be sent more than once")));
  host_->RunFor(absl::Minutes(20));
  EXPECT_EQ(delivered(), 40u);
}

TEST_F(Streaming, ASenderWhoIsRefusedInAStreamIsRefusedAlone) {
  StartWithChunking();
  then_ = [](Step step, std::string_view argument) -> std::optional<Act> {
    if (step != Step::kMail || argument.find("bad@") == argument.npos) return std::nullopt;
    return Act{Act::Kind::kReply, "550 5.7.1 not you"};
  };
  SubmitMany(20);
  Submit(To({"b@example.com"}, "bad@app.test"));
  SubmitMany(20);
  host_->RunFor(absl::Seconds(10));
  EXPECT_THAT(Logged("status=bounced"), SizeIs(1));
  // And the notice of it.
  EXPECT_EQ(delivered(), 41u);
  EXPECT_THAT(Logged("was spoken to ahead"), IsEmpty());
}

TEST_F(Streaming, BdatCanBeSwitchedOff) {
  settings_.tolerance.window_max = 0;
  StartWithChunking();
  SubmitMany(10);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 10u);
  EXPECT_EQ(book_.chunks, 0u);
}

TEST_F(Streaming, TheKeywordCanBeDiscarded) {
  settings_.discard_ehlo_keywords = {"CHUNKING"};
  StartWithChunking();
  SubmitMany(10);
  host_->RunFor(absl::Seconds(10));
  EXPECT_EQ(delivered(), 10u);
  EXPECT_EQ(book_.chunks, 0u);
}

}  // namespace
}  // namespace mailrace::engine
