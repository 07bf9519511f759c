#include "engine/config/transport.h"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

#include "base/text.h"
#include "engine/config/relayhost.h"

namespace mailrace::engine::config {
namespace {

constexpr std::array<std::pair<std::string_view, Transport>, 5> kTransports{
    {{"smtp", Transport::kSmtp},
     {"relay", Transport::kSmtp},
     {"error", Transport::kError},
     {"retry", Transport::kRetry},
     {"discard", Transport::kDiscard}}};

}  // namespace

std::string_view TransportName(Transport transport) {
  for (const auto& [name, known] : kTransports) {
    if (known == transport) return name;
  }
  return "";
}

std::optional<Transport> ParseTransportName(std::string_view name) {
  for (const auto& [known, transport] : kTransports) {
    if (known == name) return transport;
  }
  return std::nullopt;
}

absl::StatusOr<TransportSpec> ParseTransport(std::string_view value, uint16_t default_port) {
  TransportSpec spec;
  const size_t colon = value.find(':');
  const std::string_view name = Trim(value.substr(0, colon));
  if (colon != std::string_view::npos) spec.nexthop = std::string(Trim(value.substr(colon + 1)));
  if (!name.empty()) {
    spec.transport = ParseTransportName(name);
    if (!spec.transport) {
      return absl::InvalidArgumentError(
          fmt::format("there is no transport \"{}\" here; expected smtp, relay, error, retry or "
                      "discard, as in smtp:[host]:port",
                      Printable(name, 40)));
    }
  }
  // ":" alone changes nothing, and ":text" cannot be a verdict: its transport is unknown.
  if (spec.nexthop.empty() || spec.transport.value_or(Transport::kSmtp) != Transport::kSmtp) {
    return spec;
  }
  const absl::StatusOr<std::vector<Nexthop>> nexthops = ParseNexthops(spec.nexthop, default_port);
  if (!nexthops.ok()) return nexthops.status();
  spec.nexthop.clear();
  for (const Nexthop& nexthop : *nexthops) {
    if (!spec.nexthop.empty()) spec.nexthop += ", ";
    spec.nexthop += nexthop.text;
  }
  return spec;
}

TransportVerdict ParseVerdict(Transport transport, std::string_view text) {
  TransportVerdict verdict;
  if (const std::optional<EnhancedStatus> status = EnhancedStatus::ParsePrefix(text)) {
    verdict.status = *status;
    text.remove_prefix(std::min(text.size(), status->ToString().size()));
  }
  verdict.status.klass = transport == Transport::kError   ? 5
                         : transport == Transport::kRetry ? 4
                                                          : 2;
  verdict.text = std::string(Trim(text));
  // Postfix's own words for an entry that gives none.
  if (verdict.text.empty()) {
    verdict.text = transport == Transport::kDiscard ? "discarded" : "Address is undeliverable";
  }
  return verdict;
}

}  // namespace mailrace::engine::config
