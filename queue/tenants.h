// The tenants that have jobs just now: each has a small number, so that a job names its
// tenant in two octets, and a weight in the sharing out of a relay. Owned by the
// Scheduler; not thread-safe.
//
// Names come from whoever submits, so their number is bounded: those that come when
// kTenantsMax are known share one line (kOthers) until one of the known has no job left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace mailrace::queue {

using TenantIndex = uint16_t;

// A tenant's share relative to others': 1 to kTenantWeightMax.
inline constexpr uint32_t kTenantWeightMax = 1000;

class Tenants {
 public:
  static constexpr TenantIndex kNone = 0;    // Mail without a tenant.
  static constexpr TenantIndex kOthers = 1;  // Those that there was no room for.
  static constexpr size_t kTenantsMax = 4096;

  // A tenant's weight by its name; kept within 1 to kTenantWeightMax.
  using WeightOf = std::function<uint32_t(std::string_view)>;

  Tenants();

  // Weights of all, also of those known now (a reload). Null: 1 for everybody.
  void set_weights(WeightOf weight_of);

  // The number of `name` (empty: kNone), known until as many Release() as Acquire() and
  // Share() were called.
  TenantIndex Acquire(std::string_view name);
  void Share(TenantIndex tenant) { ++entries_[tenant].uses; }
  void Release(TenantIndex tenant);

  uint32_t weight(TenantIndex tenant) const { return entries_[tenant].weight; }
  // Empty for kNone and kOthers.
  const std::string& name(TenantIndex tenant) const { return entries_[tenant].name; }
  size_t known() const { return numbers_.size(); }

 private:
  struct Entry {
    std::string name;
    uint32_t weight = 1;
    uint32_t uses = 0;
  };
  uint32_t WeightFor(const std::string& name) const;

  WeightOf weight_of_;
  std::vector<Entry> entries_;  // By number.
  std::vector<TenantIndex> unused_;
  absl::flat_hash_map<std::string, TenantIndex> numbers_;
};

}  // namespace mailrace::queue
