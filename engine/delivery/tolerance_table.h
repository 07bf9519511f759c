// What was learned of each server's tolerance for a dialogue ahead of its replies. One a
// shard; what belongs to the key, reloads included, starts unknown (DestinationKey).
#pragma once

#include <cstddef>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "engine/routing/destination_key.h"
#include "transport/smtp/tolerance.h"

namespace mailrace::engine {

class ToleranceTable {
 public:
  // Servers that are remembered. Beyond it one that no session uses is forgotten.
  static constexpr size_t kServersMax = 4096;

  // Shared by the sessions with that server. `options` count if it is new.
  std::shared_ptr<transport::smtp::Tolerance> Of(const DestinationKey& key,
                                                 const transport::smtp::ToleranceOptions& options);
  // After a reload: every key is another one.
  void Clear() { servers_.clear(); }
  size_t size() const { return servers_.size(); }

 private:
  absl::flat_hash_map<DestinationKey, std::shared_ptr<transport::smtp::Tolerance>> servers_;
};

}  // namespace mailrace::engine
