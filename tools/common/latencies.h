// How long things took: a histogram of durations, precise to 1/32 of the value, in
// constant memory however many are recorded. Not thread-safe.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "absl/time/time.h"

namespace mailrace::tools {

class Latencies {
 public:
  void Record(absl::Duration duration);
  uint64_t count() const { return count_; }
  absl::Duration max() const { return absl::Microseconds(max_); }
  // The duration that `share` (0 to 1) of all did not exceed, rounded up to its bucket's
  // end but never above max(). Zero if nothing was recorded.
  absl::Duration Quantile(double share) const;

 private:
  // Values below 64 us have buckets of their own; above, each power of two has 32.
  static constexpr int kSubBits = 5;
  static constexpr uint64_t kLinear = uint64_t{2} << kSubBits;
  static constexpr int kBuckets = (64 - kSubBits) << kSubBits;
  static int Bucket(uint64_t micros);
  static uint64_t BucketEnd(int bucket);

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  int64_t max_ = 0;
};

}  // namespace mailrace::tools
