#include "engine/routing/hop_name.h"

#include <fmt/format.h>

#include <optional>

namespace mailrace::engine {
namespace {

using config::Transport;

constexpr std::string_view kAs = " as ";

std::optional<HopName> ParseVerdictName(std::string_view name) {
  const size_t colon = name.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::optional<Transport> transport = config::ParseTransportName(name.substr(0, colon));
  if (!transport || *transport == Transport::kSmtp) return std::nullopt;
  const std::string_view rest = name.substr(colon + 1);
  const std::optional<EnhancedStatus> status = EnhancedStatus::ParsePrefix(rest);
  if (!status) return std::nullopt;
  const size_t digits = status->ToString().size();
  if (rest.size() <= digits) return std::nullopt;
  HopName hop;
  hop.transport = *transport;
  hop.status = *status;
  hop.text = std::string(rest.substr(digits + 1));
  return hop;
}

}  // namespace

std::string HopName::ToString() const {
  if (transport != Transport::kSmtp) {
    return fmt::format("{}:{} {}", config::TransportName(transport), status.ToString(), text);
  }
  return sender_key.empty() ? nexthops : fmt::format("{}{}{}", nexthops, kAs, sender_key);
}

HopName HopName::Parse(std::string_view name) {
  if (std::optional<HopName> verdict = ParseVerdictName(name)) return *std::move(verdict);
  HopName hop;
  const size_t as = name.find(kAs);
  hop.nexthops = std::string(name.substr(0, as));
  if (as != std::string_view::npos) hop.sender_key = std::string(name.substr(as + kAs.size()));
  return hop;
}

}  // namespace mailrace::engine
