// How many submission connections each client address has, on all shards together: the limit of
// one client is the server's. Thread-safe; asked once a connection, so that a lock is no matter.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace mailrace::engine {

class ClientCounts {
 public:
  // One more of `client`, unless it has `limit` already (0: no limit); then false. Each that
  // entered leaves once.
  bool Enter(const std::string& client, size_t limit) {
    const std::lock_guard lock(mutex_);
    const auto [it, first] = counts_.try_emplace(client, 0);
    if (limit > 0 && it->second >= limit) return false;
    ++it->second;
    return true;
  }
  void Leave(const std::string& client) {
    const std::lock_guard lock(mutex_);
    const auto it = counts_.find(client);
    if (--it->second == 0) counts_.erase(it);
  }

 private:
  std::mutex mutex_;
  absl::flat_hash_map<std::string, size_t> counts_;  // None is 0.
};

}  // namespace mailrace::engine
