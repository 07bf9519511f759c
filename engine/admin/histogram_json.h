// Histograms for programs and people: of one shard, or of all of them together.
#pragma once

#include <array>
#include <cstdint>

#include "base/metrics.h"
#include "nlohmann/json.hpp"

namespace mailrace::engine {

// What a histogram had counted when it was looked at; others may be added to it.
class HistogramSum {
 public:
  // Any thread may read a histogram; a count may be one behind its sum.
  void Add(const Histogram& histogram);
  // {"count", "sum", "mean", "p50", "p99", "buckets"}. Quantiles are the upper bounds of their
  // buckets, not interpolations. Buckets: of 0, below 2, 4, 8 …, up to the last that counts.
  nlohmann::json ToJson() const;

 private:
  uint64_t Quantile(double q) const;

  std::array<uint64_t, Histogram::kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
};

}  // namespace mailrace::engine
