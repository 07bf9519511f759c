// "transport:nexthop", as transport_maps, default_transport and their kin write it
// (transport(5), "RESULT FORMAT"). The transports here are those that leave the host or
// need no program: smtp and relay (one and the same), error, retry and discard.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/enhanced_status.h"

namespace mailrace::engine::config {

enum class Transport : uint8_t {
  kSmtp,     // "smtp", "relay"
  kError,    // Fails for good with a text.
  kRetry,    // Is deferred with a text.
  kDiscard,  // Is thrown away; its sender believes it delivered.
};

// "smtp", "error", "retry", "discard".
std::string_view TransportName(Transport transport);
std::optional<Transport> ParseTransportName(std::string_view name);

struct TransportSpec {
  // Nothing: the transport stays what it would have been (":nexthop").
  std::optional<Transport> transport;
  // Verbatim. Empty: none is given. For error, retry and discard: free text, which may
  // begin with a status code.
  std::string nexthop;
};

// InvalidArgument says what is wrong: a transport that we have not, a nexthop that cannot
// be one. `default_port` is smtp_tcp_port's number.
absl::StatusOr<TransportSpec> ParseTransport(std::string_view value, uint16_t default_port);

// The text of error, retry and discard taken apart. The class is always the transport's:
// 5, 4 or 2.
struct TransportVerdict {
  EnhancedStatus status;
  std::string text;
};
TransportVerdict ParseVerdict(Transport transport, std::string_view text);

}  // namespace mailrace::engine::config
