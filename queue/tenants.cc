#include "queue/tenants.h"

#include <algorithm>
#include <utility>

namespace mailrace::queue {

Tenants::Tenants() : entries_(2) {}

uint32_t Tenants::WeightFor(const std::string& name) const {
  if (weight_of_ == nullptr || name.empty()) return 1;
  return std::clamp<uint32_t>(weight_of_(name), 1, kTenantWeightMax);
}

void Tenants::set_weights(WeightOf weight_of) {
  weight_of_ = std::move(weight_of);
  for (const auto& [name, number] : numbers_) entries_[number].weight = WeightFor(name);
}

TenantIndex Tenants::Acquire(std::string_view name) {
  if (name.empty()) return kNone;
  const auto found = numbers_.find(absl::string_view(name.data(), name.size()));
  if (found != numbers_.end()) {
    ++entries_[found->second].uses;
    return found->second;
  }
  if (numbers_.size() >= kTenantsMax) return kOthers;
  TenantIndex number = static_cast<TenantIndex>(entries_.size());
  if (unused_.empty()) {
    entries_.emplace_back();
  } else {
    number = unused_.back();
    unused_.pop_back();
  }
  std::string owned(name);
  entries_[number] = {owned, WeightFor(owned), 1};
  numbers_.emplace(std::move(owned), number);
  return number;
}

void Tenants::Release(TenantIndex tenant) {
  if (tenant <= kOthers) return;
  Entry& entry = entries_[tenant];
  if (--entry.uses > 0) return;
  numbers_.erase(entry.name);
  entry = {};
  unused_.push_back(tenant);
}

}  // namespace mailrace::queue
