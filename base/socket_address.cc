#include "base/socket_address.h"

#include <arpa/inet.h>

#include <charconv>

#include "fmt/format.h"

namespace mailrace {

absl::StatusOr<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string copy(text);
  IpAddress ip;
  // inet_pton stops at a NUL: a text with one inside is no address.
  if (copy.find('\0') == std::string::npos) {
    if (inet_pton(AF_INET, copy.c_str(), ip.octets.data()) == 1) return ip;
    if (inet_pton(AF_INET6, copy.c_str(), ip.octets.data()) == 1) {
      ip.v6 = true;
      return ip;
    }
  }
  return absl::InvalidArgumentError(fmt::format("'{}' is not an IP address", text));
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(v6 ? AF_INET6 : AF_INET, octets.data(), text, sizeof text);
  return text;
}

bool IpAddress::loopback() const {
  if (!v6) return octets[0] == 127;
  static constexpr std::array<uint8_t, 16> kOne{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return octets == kOne;
}

absl::StatusOr<SocketAddress> SocketAddress::Parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(fmt::format("'{}' is not HOST:PORT: {}", text, why));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("there is no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size() || port_text.empty()) {
    return bad("the port is not a number from 0 to 65535");
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad("an IPv6 address needs brackets");
  }
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  absl::StatusOr<IpAddress> ip = IpAddress::Parse(host);
  if (!ip.ok()) return bad("the host is not an IP address");
  return SocketAddress{*ip, port};
}

std::string SocketAddress::ToString() const {
  return ip.v6 ? fmt::format("[{}]:{}", ip.ToString(), port)
               : fmt::format("{}:{}", ip.ToString(), port);
}

}  // namespace mailrace
