#include "engine/own_addresses.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace mailrace::engine {
namespace {

constexpr uint16_t kSmtpPort = 25;

std::optional<IpAddress> FromSystem(const sockaddr* address) {
  if (address == nullptr) return std::nullopt;
  IpAddress ip;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    std::memcpy(ip.octets.data(), &v4.sin_addr, 4);
    return ip;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    std::memcpy(ip.octets.data(), &v6.sin6_addr, 16);
    ip.v6 = true;
    return ip;
  }
  return std::nullopt;
}

std::vector<IpAddress> InterfaceAddresses() {
  std::vector<IpAddress> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (const std::optional<IpAddress> ip = FromSystem(each->ifa_addr)) addresses.push_back(*ip);
  }
  freeifaddrs(list);
  return addresses;
}

}  // namespace

bool OwnAddresses::Contain(const SocketAddress& address) const {
  if (std::find(listeners.begin(), listeners.end(), address) != listeners.end()) return true;
  return address.port == kSmtpPort &&
         std::find(proxies.begin(), proxies.end(), address.ip) != proxies.end();
}

std::vector<SocketAddress> ExpandWildcards(const std::vector<SocketAddress>& listeners) {
  std::vector<SocketAddress> out;
  std::optional<std::vector<IpAddress>> interfaces;
  for (const SocketAddress& listener : listeners) {
    if (listener.port == 0) continue;
    if (listener.ip.octets != IpAddress().octets) {
      out.push_back(listener);
      continue;
    }
    if (!interfaces) interfaces = InterfaceAddresses();
    for (const IpAddress& ip : *interfaces) {
      // "::" takes IPv4 too (RFC 3493 5.3).
      if (listener.ip.v6 || !ip.v6) out.push_back({ip, listener.port});
    }
  }
  return out;
}

}  // namespace mailrace::engine
