// Addresses of which nobody answered a moment ago: others of the same destination are
// tried first, so that a dead one of two costs a connect now and then instead of one a
// session. One a shard; not thread-safe.
#pragma once

#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/socket_address.h"

namespace mailrace::engine {

class DeadAddresses {
 public:
  static constexpr absl::Duration kFirstPause = absl::Seconds(30);
  static constexpr absl::Duration kLongestPause = absl::Minutes(10);
  static constexpr size_t kKept = 1000;

  // Whether others go first.
  bool Dead(const SocketAddress& address, MonoTime now) const;
  // Somebody tries it now: until that has ended, at most `limit`, the others still pass by.
  void Trying(const SocketAddress& address, MonoTime now, absl::Duration limit);
  // Nobody answered there. Each time in a row doubles the pause.
  void Failed(const SocketAddress& address, MonoTime now);
  void Answered(const SocketAddress& address) { entries_.erase(address); }
  // After a reload: our own address may have been the reason.
  void Clear() { entries_.clear(); }
  size_t size() const { return entries_.size(); }

 private:
  struct Hash {
    size_t operator()(const SocketAddress& address) const;
  };
  struct Entry {
    MonoTime until;
    absl::Duration pause;
    bool probed = false;  // The pause was over, and somebody tries.
  };
  absl::flat_hash_map<SocketAddress, Entry, Hash> entries_;
};

}  // namespace mailrace::engine
