// What makes two sessions interchangeable. One struct keys the pool, the TLS session
// cache and everything learned about a destination (invariant I6): a new policy field
// belongs in here before it belongs anywhere else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/socket_address.h"
#include "engine/routing/destination_policy.h"
#include "engine/routing/tls_policy.h"
#include "transport/sasl/client.h"

namespace mailrace::engine {

struct DestinationKey {
  std::string nexthop;  // The queue's name of it: as routed, and whose login.
  std::string host;     // The server's name.
  SocketAddress address;
  int tls_level = 0;
  std::string tls_rules;     // Match names, protocols, ciphers, server name: canonical text.
  std::string sasl_user;     // Empty: no credentials.
  uint64_t trust = 0;        // Generation of CA files and credential tables (reloads).
  uint64_t sasl_secret = 0;  // Digest of the password, of this process alone.

  friend bool operator==(const DestinationKey&, const DestinationKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const DestinationKey& key) {
    // Does not compile with one field more or less.
    const auto& [nexthop, host, address, tls_level, tls_rules, sasl_user, trust, sasl_secret] = key;
    return H::combine(std::move(h), nexthop, host, address.ip.octets, address.ip.v6, address.port,
                      tls_level, tls_rules, sasl_user, trust, sasl_secret);
  }
};

// The key of a session with `host` at `address` under a policy: whatever of the policy may
// differ makes another key. `hop`: the queue's name of the nexthop. `generation` stands for
// all that only a reload changes.
// A new field in one of the structures does not compile until it is looked at there.
DestinationKey KeyOf(std::string hop, std::string host, SocketAddress address, const ServerTls& tls,
                     const std::optional<transport::sasl::Credentials>& credentials,
                     uint64_t generation);

// All of `policy`, in an order and a writing of its own: ServerTls::rules.
std::string CanonicalRules(const TlsPolicy& policy);
// Of it what an own TLS context is made for: protocols, ciphers, trust anchors.
std::string CanonicalContext(const TlsPolicy& policy);

}  // namespace mailrace::engine
