#include "engine/delivery/dead_addresses.h"

#include <algorithm>
#include <tuple>

#include "absl/hash/hash.h"

namespace mailrace::engine {

size_t DeadAddresses::Hash::operator()(const SocketAddress& address) const {
  return absl::Hash<std::tuple<std::array<uint8_t, 16>, bool, uint16_t>>()(
      {address.ip.octets, address.ip.v6, address.port});
}

bool DeadAddresses::Dead(const SocketAddress& address, MonoTime now) const {
  const auto it = entries_.find(address);
  return it != entries_.end() && now < it->second.until;
}

void DeadAddresses::Trying(const SocketAddress& address, MonoTime now, absl::Duration limit) {
  const auto it = entries_.find(address);
  if (it == entries_.end() || now < it->second.until) return;
  it->second.until = now + limit;
  it->second.probed = true;
}

void DeadAddresses::Failed(const SocketAddress& address, MonoTime now) {
  if (entries_.size() >= kKept && !entries_.contains(address)) {
    absl::erase_if(entries_, [now](const auto& entry) { return entry.second.until <= now; });
    // Full of the dead: one is forgotten, and costs a connect.
    if (entries_.size() >= kKept) entries_.erase(entries_.begin());
  }
  const auto [it, first] = entries_.try_emplace(address, Entry{now + kFirstPause, kFirstPause});
  if (first) return;
  // Several that were on their way together fail as one.
  Entry& entry = it->second;
  if (entry.probed || now >= entry.until) entry.pause = std::min(entry.pause * 2, kLongestPause);
  entry.probed = false;
  entry.until = now + entry.pause;
}

}  // namespace mailrace::engine
