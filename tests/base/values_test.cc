// The small value types: queue ids, enhanced status codes, socket addresses, time,
// random octets, metrics.
#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/enhanced_status.h"
#include "base/metrics.h"
#include "base/queue_id.h"
#include "base/random.h"
#include "base/socket_address.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

using ::testing::HasSubstr;

// --- QueueId ---

TEST(QueueId, PrintsAsFifteenUpperCaseDigits) {
  EXPECT_EQ(QueueId{0xabc}.ToString(), "000000000000ABC");
  EXPECT_EQ((QueueId{(uint64_t{1} << 60) - 1}.ToString()), "FFFFFFFFFFFFFFF");
}

TEST(QueueId, ParsesWhatItPrints) {
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x123456789abcdef}}) {
    EXPECT_EQ(QueueId::Parse(QueueId{value}.ToString()), QueueId{value});
  }
  EXPECT_EQ(QueueId::Parse("abc"), QueueId{0xabc});
}

TEST(QueueId, RefusesWhatIsNoId) {
  for (const char* text : {"", "-1", "+1", "0x1", "12 ", " 12", "G", "00000000000000001"}) {
    EXPECT_EQ(QueueId::Parse(text), std::nullopt) << text;
  }
}

// --- EnhancedStatus ---

TEST(EnhancedStatus, ParsesTheFrontOfAText) {
  EXPECT_EQ(EnhancedStatus::ParsePrefix("2.1.5 Ok"), (EnhancedStatus{2, 1, 5}));
  EXPECT_EQ(EnhancedStatus::ParsePrefix("5.7.1"), (EnhancedStatus{5, 7, 1}));
  EXPECT_EQ(EnhancedStatus::ParsePrefix("4.999.123 x"), (EnhancedStatus{4, 999, 123}));
}

TEST(EnhancedStatus, RefusesMalformedCodes) {
  for (const char* text :
       {"", "2", "2.1", "2.1.", "2.1.x", "3.1.1", "1.1.1", "0.1.1", "2.01.1", "2.1.01", "2.1000.1",
        "2.1.1000", "2.1.5x", "2.1.5.1", " 2.1.5", "2..5", "-2.1.5", "22.1.5", "2.1.5-x"}) {
    EXPECT_EQ(EnhancedStatus::ParsePrefix(text), std::nullopt) << text;
  }
}

TEST(EnhancedStatus, AReplysCodeDecidesTheClass) {
  EXPECT_EQ(EnhancedStatus::ForReply(550, "5.1.1 no such user").ToString(), "5.1.1");
  EXPECT_EQ(EnhancedStatus::ForReply(550, "no such user").ToString(), "5.0.0");
  EXPECT_EQ(EnhancedStatus::ForReply(450, "5.1.1 liar").ToString(), "4.0.0");
  EXPECT_EQ(EnhancedStatus::ForReply(250, "2.0.0 Ok").ToString(), "2.0.0");
}

// --- SocketAddress ---

TEST(SocketAddress, ParsesAndPrints) {
  EXPECT_EQ(SocketAddress::Parse("192.0.2.1:25")->ToString(), "192.0.2.1:25");
  EXPECT_EQ(SocketAddress::Parse("[2001:DB8:0::1]:587")->ToString(), "[2001:db8::1]:587");
  EXPECT_EQ(SocketAddress::Parse("localhost:0")->ToString(), "127.0.0.1:0");
  EXPECT_EQ(SocketAddress::Parse(":25")->ToString(), "0.0.0.0:25");
  EXPECT_EQ(SocketAddress::Parse("*:65535")->ToString(), "0.0.0.0:65535");
}

TEST(SocketAddress, RefusalsRepeatTheTextAndSayWhy) {
  for (const char* text :
       {"", "25", "192.0.2.1", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.1:-1",
        "192.0.2.1:25 ", "::1:25", "[::1]", "[::1:25", "relay.example:25", "192.0.2.256:25"}) {
    const auto address = SocketAddress::Parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_THAT(address.status().ToString(), HasSubstr(std::string("'") + text + "'"));
  }
}

TEST(IpAddress, TakesAddressesOnly) {
  EXPECT_TRUE(IpAddress::Parse("::1")->v6);
  EXPECT_FALSE(IpAddress::Parse("10.0.0.1")->v6);
  for (const char* text : {"", "1", "1.2.3", "01.2.3.4", "1.2.3.4.5", "ipv6:::1", "[::1]",
                           "fe80::1%lo", " 1.2.3.4", "1.2.3.4\n"}) {
    EXPECT_FALSE(IpAddress::Parse(text).ok()) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("1.2.3.4\0", 8)).ok());
}

TEST(IpAddress, KnowsLoopback) {
  EXPECT_TRUE(IpAddress::Parse("127.0.0.1")->loopback());
  EXPECT_TRUE(IpAddress::Parse("127.255.0.9")->loopback());
  EXPECT_TRUE(IpAddress::Parse("::1")->loopback());
  EXPECT_FALSE(IpAddress::Parse("128.0.0.1")->loopback());
  EXPECT_FALSE(IpAddress::Parse("::2")->loopback());
  EXPECT_FALSE(IpAddress::Parse("7f00::1")->loopback());
}

// --- Clock ---

TEST(MonoTime, AddsAndSaturates) {
  EXPECT_EQ((MonoTime{5} + absl::Nanoseconds(3)).nanos, 8);
  EXPECT_TRUE((MonoTime{5} + absl::InfiniteDuration()).infinite());
  EXPECT_TRUE((MonoTime::Infinite() + absl::Seconds(1)).infinite());
  EXPECT_TRUE((MonoTime{INT64_MAX - 5} + absl::Seconds(1)).infinite());
  EXPECT_TRUE((MonoTime{5} + absl::Hours(24 * 366 * 1000)).infinite());
}

TEST(MonoTime, Subtracts) {
  EXPECT_EQ(MonoTime{8} - MonoTime{5}, absl::Nanoseconds(3));
  EXPECT_EQ(MonoTime{5} - MonoTime{8}, absl::Nanoseconds(-3));
  EXPECT_EQ(MonoTime::Infinite() - MonoTime{5}, absl::InfiniteDuration());
}

TEST(SystemClock, MonotonicTimeDoesNotGoBack) {
  const SystemClock clock;
  const MonoTime first = clock.Mono();
  EXPECT_GE(clock.Mono(), first);
  EXPECT_GT(clock.Wall(), absl::UnixEpoch());
}

TEST(SimClock, MovesOnlyWhenTold) {
  SimClock clock;
  const absl::Time wall = clock.Wall();
  const MonoTime mono = clock.Mono();
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Wall() - wall, absl::Seconds(5));
  EXPECT_EQ(clock.Mono() - mono, absl::Seconds(5));
  clock.JumpWall(-absl::Hours(1));
  EXPECT_EQ(clock.Mono() - mono, absl::Seconds(5));
  clock.AdvanceTo(mono);  // The past: nothing.
  EXPECT_EQ(clock.Mono() - mono, absl::Seconds(5));
}

// --- Random ---

// The reference code of splitmix64 and xoshiro256** by their authors, from seed 0.
TEST(SeededRandom, GivesTheReferenceVector) {
  SeededRandom random(0);
  EXPECT_EQ(random.Next64(), 0x99ec5f36cb75f2b4u);
  EXPECT_EQ(random.Next64(), 0xbf6e1f784956452au);
  EXPECT_EQ(random.Next64(), 0x1a5f849d4933e6e0u);
  EXPECT_EQ(random.Next64(), 0x6aa594f1262d2d2cu);
}

TEST(SeededRandom, TheSameSeedGivesTheSameOctets) {
  SeededRandom a(42);
  SeededRandom b(42);
  std::array<uint8_t, 37> octets_a{};
  std::array<uint8_t, 37> octets_b{};
  a.Fill(octets_a);
  b.Fill(octets_b);
  EXPECT_EQ(octets_a, octets_b);
  EXPECT_NE(SeededRandom(43).Next64(), SeededRandom(42).Next64());
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  SeededRandom random(1);
  std::array<int, 7> seen{};
  for (int n = 0; n < 7000; ++n) ++seen[random.Below(7)];
  for (const int count : seen) EXPECT_GT(count, 800);
  EXPECT_EQ(random.Below(1), 0u);
  EXPECT_LT(random.Below(UINT64_MAX), UINT64_MAX);
}

TEST(SystemRandom, FillsAllOfIt) {
  SystemRandom random;
  std::array<uint8_t, 1024> octets{};
  random.Fill(octets);
  // 1024 octets hold about four zeros; the last 64 all zero is one in 2^512.
  EXPECT_TRUE(std::any_of(octets.end() - 64, octets.end(), [](uint8_t o) { return o != 0; }));
  EXPECT_NE(random.Next64(), random.Next64());
}

// --- Metrics ---

TEST(Counter, CountsOnOneThreadAndIsReadOnAnother) {
  Counter counter;
  std::thread([&] {
    for (int n = 0; n < 1000; ++n) counter.Add();
    counter.Subtract(10);
  }).join();
  EXPECT_EQ(counter.value(), 990u);
  counter.Set(7);
  EXPECT_EQ(counter.value(), 7u);
}

TEST(Histogram, BucketsArePowersOfTwoMicroseconds) {
  Histogram histogram;
  histogram.Record(absl::Nanoseconds(10));  // 0 us
  histogram.Record(absl::Microseconds(1));  // [1, 2)
  histogram.Record(absl::Microseconds(2));  // [2, 4)
  histogram.Record(absl::Microseconds(3));
  histogram.Record(absl::Microseconds(4));  // [4, 8)
  histogram.Record(-absl::Seconds(1));      // 0
  histogram.Record(absl::InfiniteDuration());
  EXPECT_EQ(histogram.bucket(0), 2u);
  EXPECT_EQ(histogram.bucket(1), 1u);
  EXPECT_EQ(histogram.bucket(2), 2u);
  EXPECT_EQ(histogram.bucket(3), 1u);
  EXPECT_EQ(histogram.bucket(Histogram::kBuckets - 1), 1u);
  EXPECT_EQ(histogram.count(), 7u);
}

}  // namespace
}  // namespace mailrace
