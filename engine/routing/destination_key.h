// What makes two sessions interchangeable. One struct keys the pool, the TLS session
// cache and everything learned about a destination (invariant I6): a new policy field
// belongs in here before it belongs anywhere else.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "base/socket_address.h"

namespace mailrace::engine {

struct DestinationKey {
  std::string nexthop;  // As routed, with brackets and port.
  std::string host;     // The server's name.
  SocketAddress address;
  int tls_level = 0;
  std::string tls_rules;  // Match names, protocols, ciphers, server name: canonical text.
  std::string sasl_user;  // Empty: no credentials.
  uint64_t trust = 0;     // Generation of CA files and credential tables (reloads).

  auto Tie() const {
    return std::tie(nexthop, host, address.ip.octets, address.ip.v6, address.port, tls_level,
                    tls_rules, sasl_user, trust);
  }
  friend bool operator==(const DestinationKey& a, const DestinationKey& b) {
    return a.Tie() == b.Tie();
  }
  template <typename H>
  friend H AbslHashValue(H h, const DestinationKey& key) {
    return H::combine(std::move(h), key.Tie());
  }
};

}  // namespace mailrace::engine
