#include "engine/admin/histogram_json.h"

#include <utility>

namespace mailrace::engine {

void HistogramSum::Add(const Histogram& histogram) {
  for (int i = 0; i < Histogram::kBuckets; ++i) {
    buckets_[static_cast<size_t>(i)] += histogram.bucket(i);
  }
  count_ += histogram.count();
  sum_ += histogram.sum();
}

uint64_t HistogramSum::Quantile(double q) const {
  const auto wanted = static_cast<uint64_t>(static_cast<double>(count_) * q);
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen > wanted) return i == 0 ? 0 : (uint64_t{1} << i);
  }
  return 0;
}

nlohmann::json HistogramSum::ToJson() const {
  using Json = nlohmann::json;
  Json buckets = Json::array();
  for (const uint64_t count : buckets_) buckets.push_back(count);
  while (!buckets.empty() && buckets.back() == 0) buckets.erase(buckets.size() - 1);
  return {{"count", count_},
          {"sum", sum_},
          {"buckets", std::move(buckets)},
          {"mean", count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_)},
          {"p50", Quantile(0.5)},
          {"p99", Quantile(0.99)}};
}

}  // namespace mailrace::engine
