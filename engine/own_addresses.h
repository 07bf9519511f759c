// Where mail would come back to us: a nexthop that leads there is a loop.
#pragma once

#include <vector>

#include "base/socket_address.h"

namespace mailrace::engine {

struct OwnAddresses {
  std::vector<SocketAddress> listeners;
  std::vector<IpAddress> proxies;  // proxy_interfaces: of our port 25, seen from outside.

  bool Contain(const SocketAddress& address) const;
};

// `listeners` with each wildcard replaced by the addresses that this host has now. Asks
// the kernel only if there is a wildcard. Ports that the system chooses are left out.
std::vector<SocketAddress> ExpandWildcards(const std::vector<SocketAddress>& listeners);

}  // namespace mailrace::engine
