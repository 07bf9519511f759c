#include "engine/delivery/tolerance_table.h"

#include <algorithm>

namespace mailrace::engine {

std::shared_ptr<transport::smtp::Tolerance> ToleranceTable::Of(
    const DestinationKey& key, const transport::smtp::ToleranceOptions& options) {
  const auto known = servers_.find(key);
  if (known != servers_.end()) return known->second;
  if (servers_.size() >= kServersMax) {
    const auto unused = std::find_if(servers_.begin(), servers_.end(),
                                     [](const auto& each) { return each.second.use_count() == 1; });
    if (unused != servers_.end()) servers_.erase(unused);
  }
  auto tolerance = std::make_shared<transport::smtp::Tolerance>(options);
  if (servers_.size() < kServersMax) servers_.emplace(key, tolerance);
  return tolerance;
}

}  // namespace mailrace::engine
