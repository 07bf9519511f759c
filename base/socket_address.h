// An IPv4 or IPv6 address and a port, without the system's structures.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mailrace {

struct IpAddress {
  // IPv4 uses the first 4 octets.
  std::array<uint8_t, 16> octets{};
  bool v6 = false;

  // "192.0.2.1", "2001:db8::1"; nothing else ("ipv6:" prefixes, zones and
  // brackets are the caller's syntax).
  static absl::StatusOr<IpAddress> Parse(std::string_view text);
  std::string ToString() const;
  bool loopback() const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;

  // "192.0.2.1:25", "[2001:db8::1]:25", "localhost:25" (127.0.0.1) and ":25" or
  // "*:25" (0.0.0.0). A port is required; 0 lets the system choose.
  static absl::StatusOr<SocketAddress> Parse(std::string_view text);
  // "192.0.2.1:25", "[2001:db8::1]:25".
  std::string ToString() const;
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

}  // namespace mailrace
