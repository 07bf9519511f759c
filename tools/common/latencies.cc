#include "tools/common/latencies.h"

#include <algorithm>
#include <cmath>

namespace mailrace::tools {

int Latencies::Bucket(uint64_t micros) {
  if (micros < kLinear) return static_cast<int>(micros);
  const int shift = std::bit_width(micros) - 1 - kSubBits;
  return (shift << kSubBits) + static_cast<int>(micros >> shift);
}

uint64_t Latencies::BucketEnd(int bucket) {
  if (static_cast<uint64_t>(bucket) < kLinear) return static_cast<uint64_t>(bucket);
  const int shift = (bucket >> kSubBits) - 1;
  const uint64_t step = static_cast<uint64_t>(bucket) - (static_cast<uint64_t>(shift) << kSubBits);
  return ((step + 1) << shift) - 1;
}

void Latencies::Record(absl::Duration duration) {
  const int64_t micros = std::max<int64_t>(0, absl::ToInt64Microseconds(duration));
  ++buckets_[static_cast<size_t>(Bucket(static_cast<uint64_t>(micros)))];
  ++count_;
  max_ = std::max(max_, micros);
}

absl::Duration Latencies::Quantile(double share) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[static_cast<size_t>(bucket)];
    if (seen >= wanted && seen > 0) {
      return std::min(absl::Microseconds(BucketEnd(bucket)), max());
    }
  }
  return absl::ZeroDuration();
}

}  // namespace mailrace::tools
