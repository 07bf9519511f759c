// Resource data as DNS has it on the wire (RFC 1035 3.3.9, 3.4.1; RFC 3596 2.2). Pure
// functions of octets; malformed data is dropped, never trusted.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/socket_address.h"
#include "transport/resolver.h"

namespace mailrace::transport::dns {

// A domain name without compression, to its end: labels joined by dots, no final dot; ""
// is the root. Nothing if it is cut short, longer than RFC 1035 allows, or holds an octet
// that no host name has (a control character, a space, a dot inside a label): such a name
// may not reach a log, a TLS name check or another question.
std::optional<std::string> ParseName(std::string_view wire);
std::optional<MxRecord> ParseMx(std::string_view rdata);
// 4 octets or 16.
std::optional<IpAddress> ParseAddress(std::string_view rdata);

// A name fit to be asked for: without the final dot. InvalidArgument if it is empty or
// breaks RFC 1035's lengths or ParseName's rule.
absl::StatusOr<std::string> CheckedName(std::string_view name);

// Addresses of both families by turns, beginning with IPv6 (RFC 8305 4).
std::vector<IpAddress> Interleave(const std::vector<IpAddress>& v6,
                                  const std::vector<IpAddress>& v4);

}  // namespace mailrace::transport::dns
