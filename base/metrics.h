// Counters that shards bump and an administrator reads. A Counter is written by one
// thread and read by any: relaxed atomics without a locked instruction. A Histogram
// likewise. Names follow Prometheus' rules ("mailrace_accepted_total").
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "absl/time/time.h"

namespace mailrace {

class Counter {
 public:
  // Only on the owning thread.
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Subtract(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Powers of two of microseconds: bucket n counts durations in [2^(n-1), 2^n) us.
class Histogram {
 public:
  static constexpr int kBuckets = 40;
  void Record(absl::Duration d) { RecordValue(absl::ToInt64Microseconds(d)); }
  void RecordValue(int64_t value) {
    const auto v = static_cast<uint64_t>(value < 0 ? 0 : value);
    const int bucket = std::bit_width(v);
    buckets_[bucket < kBuckets ? bucket : kBuckets - 1].Add();
    count_.Add();
    sum_.Add(v);
  }
  uint64_t count() const { return count_.value(); }
  uint64_t sum() const { return sum_.value(); }
  uint64_t bucket(int n) const { return buckets_[n].value(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter count_;
  Counter sum_;
};

}  // namespace mailrace
