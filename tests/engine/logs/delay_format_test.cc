#include "engine/logs/delay_format.h"

#include <gtest/gtest.h>

namespace mailrace::logs {
namespace {

absl::Duration Micros(int64_t n) { return absl::Microseconds(n); }
absl::Time At(double seconds) { return absl::FromUnixSeconds(1'000'000) + absl::Seconds(seconds); }

struct Vector {
  int64_t micros;
  std::string_view text;
};

TEST(DelayFormat, ShowsTwoSignificantDigitsAsPostfixDoes) {
  for (const Vector& v :
       {Vector{0, "0"},       {4'000, "0"},           {4'999, "0"},       {5'000, "0.01"},
        {9'000, "0.01"},      {12'000, "0.01"},       {50'000, "0.05"},   {99'900, "0.1"},
        {111'000, "0.11"},    {125'000, "0.13"},      {994'000, "0.99"},  {995'000, "1"},
        {1'040'000, "1"},     {1'050'000, "1.1"},     {1'230'000, "1.2"}, {1'960'000, "2"},
        {9'940'000, "9.9"},   {9'960'000, "10"},      {10'500'000, "11"}, {99'600'000, "100"},
        {123'600'000, "124"}, {4'000'900'000, "4001"}}) {
    EXPECT_EQ(FormatDelay(Micros(v.micros)), v.text) << v.micros;
  }
}

TEST(DelayFormat, KeepsTheResolutionLimit) {
  EXPECT_EQ(FormatDelay(Micros(1'234), 6), "0.0012");
  EXPECT_EQ(FormatDelay(Micros(12), 6), "0.000012");
  EXPECT_EQ(FormatDelay(Micros(1'260'000), 1), "1.3");
  EXPECT_EQ(FormatDelay(Micros(40'000), 1), "0");
  EXPECT_EQ(FormatDelay(Micros(1'400'000), 0), "1");
  EXPECT_EQ(FormatDelay(Micros(1'500'000), 0), "2");
}

TEST(DelayFormat, ShowsAClockThatWentBackAsZero) { EXPECT_EQ(FormatDelay(absl::Seconds(-5)), "0"); }

TEST(Delays, SplitsADeliveryIntoItsFourStages) {
  const Delays delays = ComputeDelays({At(0), At(1), At(1.5), At(4), At(12)});
  EXPECT_EQ(delays.total, absl::Seconds(12));
  EXPECT_EQ(FormatDelays(delays), "1/0.5/2.5/8");
}

TEST(Delays, PutsAllBeforeTheQueueIfTheQueueNeverSawIt) {
  EXPECT_EQ(FormatDelays(ComputeDelays({At(0), {}, {}, {}, At(3)})), "3/0/0/0");
}

TEST(Delays, PutsTheRestIntoTheQueueIfNothingWasTried) {
  EXPECT_EQ(FormatDelays(ComputeDelays({At(0), At(1), {}, {}, At(3)})), "1/2/0/0");
}

TEST(Delays, PutsTheRestIntoTransmissionIfNoConnectionCameUp) {
  EXPECT_EQ(FormatDelays(ComputeDelays({At(0), At(1), At(2), {}, At(5)})), "1/1/0/3");
}

TEST(Delays, CountsNegativeDifferencesAsZero) {
  const Delays delays = ComputeDelays({At(10), At(1), At(2), At(1), At(5)});
  EXPECT_EQ(delays.total, absl::ZeroDuration());
  EXPECT_EQ(FormatDelays(delays), "0/1/0/4");
}

}  // namespace
}  // namespace mailrace::logs
