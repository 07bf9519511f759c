// A next-hop as relayhost and its kin write it (postconf(5), "relayhost"):
//
//   nexthop = ( "[" name-or-address "]" / name ) [ ":" port ]
//   port    = 1*5DIGIT / service name ("smtp", "submission", "smtps" / "submissions")
//
// Square brackets switch the MX lookup off. An IPv6 literal stands in brackets, with or
// without "IPv6:"; a bare IPv4 literal is dialled as it is (an address has no MX).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mailrace::engine::config {

struct Nexthop {
  std::string text;  // Verbatim: the key of lookup tables and of the queue's nexthop.
  std::string host;  // Name or address literal, lower case, without brackets and port.
  uint16_t port = 25;
  bool lookup_mx = true;
  bool address_literal = false;
};

// `default_port` is smtp_tcp_port's number. Errors say what is wrong with which part.
absl::StatusOr<Nexthop> ParseNexthop(std::string_view text, uint16_t default_port);
// Several, tried in order (Postfix 3.5 and later): between commas or white space.
absl::StatusOr<std::vector<Nexthop>> ParseNexthops(std::string_view list, uint16_t default_port);
// RFC 1123 2.1 names and, for internal relays, underscores, single labels and UTF-8.
absl::Status CheckHostName(std::string_view name);
// A number 1..65535 or one of the mail services' names, without the system's database.
absl::StatusOr<uint16_t> ParsePort(std::string_view text);

}  // namespace mailrace::engine::config
