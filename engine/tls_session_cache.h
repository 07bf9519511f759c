// TLS sessions that may be resumed, several a destination, in memory only. One a shard.
// The key is the whole DestinationKey, so that a session never crosses policies, names,
// credentials or trust (invariant I6).
#pragma once

#include <deque>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "engine/routing/destination_key.h"
#include "transport/tls/engine.h"

namespace mailrace::engine {

class TlsSessionCache {
 public:
  // Newest first; a session is given out once (TLS 1.3 tickets are single-use in spirit).
  transport::tls::SessionPtr Take(const DestinationKey& key, MonoTime now);
  void Put(const DestinationKey& key, transport::tls::SessionPtr session, MonoTime expires);
  void Clear() { sessions_.clear(); }

 private:
  static constexpr size_t kPerKeyMax = 8;
  static constexpr size_t kKeysMax = 1024;
  struct Entry {
    transport::tls::SessionPtr session;
    MonoTime expires;
  };
  absl::flat_hash_map<DestinationKey, std::deque<Entry>> sessions_;
};

}  // namespace mailrace::engine
