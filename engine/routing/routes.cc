#include "engine/routing/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "engine/routing/address_keys.h"

namespace mailrace::engine {

using config::Transport;
using config::TransportSpec;
using tables::TableHit;

// A route while it is being found.
struct Routes::Way {
  Transport transport = Transport::kSmtp;
  std::string nexthop;
  std::vector<std::string>* steps = nullptr;

  // Called for each recipient: a step that nobody reads is not written, either.
  template <typename... Args>
  void Note(fmt::format_string<Args...> format, Args&&... args) const {
    if (steps != nullptr) steps->push_back(fmt::format(format, std::forward<Args>(args)...));
  }
};

namespace {

std::vector<std::string> KeysOf(std::string_view sender, std::string_view null_key,
                                const config::GeneralOptions& general) {
  if (sender.empty()) return {std::string(null_key)};
  return SenderKeys(sender, general);
}

HopName Hop(Transport transport, std::string_view nexthop) {
  HopName hop;
  hop.transport = transport;
  if (transport == Transport::kSmtp) {
    hop.nexthops = std::string(nexthop);
    return hop;
  }
  config::TransportVerdict verdict = config::ParseVerdict(transport, nexthop);
  hop.status = verdict.status;
  hop.text = Printable(verdict.text, 500);
  return hop;
}

HopName LookupFailed(std::string_view parameter, std::vector<std::string>* steps) {
  if (steps != nullptr) steps->push_back(fmt::format("{}: the table cannot answer", parameter));
  return {Transport::kRetry, "", "", {4, 3, 0}, "address resolver failure"};
}

}  // namespace

std::string RelayhostName(const std::vector<config::Nexthop>& relayhost) {
  std::string name;
  for (const config::Nexthop& relay : relayhost) {
    if (!name.empty()) name += ", ";
    name += relay.text;
  }
  return name;
}

Routes::Routes(std::shared_ptr<const config::Config> config) : config_(std::move(config)) {
  relayhost_ = RelayhostName(config_->options.smtp.relayhost);
  const auto& lists = config_->options.routing.parent_domain_matches_subdomains;
  parents_match_ = std::find(lists.begin(), lists.end(), "transport_maps") != lists.end();
  const config::SaslOptions& sasl = config_->options.sasl;
  const TransportSpec& spec = config_->options.routing.default_transport;
  by_relayhost_alone_ = !relayhost_.empty() && config_->transports->empty() &&
                        config_->sender_relayhosts->empty() &&
                        config_->default_transports->empty() && spec.nexthop.empty() &&
                        spec.transport.value_or(Transport::kSmtp) == Transport::kSmtp &&
                        !(sasl.smtp_sasl_auth_enable && sasl.smtp_sender_dependent_authentication);
}

bool Routes::Find(const Table& table, const std::vector<std::string>& keys,
                  std::optional<TableHit>* hit) const {
  for (const std::string& key : keys) {
    absl::StatusOr<std::optional<TableHit>> found = table->Lookup(key);
    if (!found.ok()) return false;
    if (!found->has_value()) continue;
    *hit = *std::move(found);
    (*hit)->origin += fmt::format(" (key {})", Printable(key, 320));
    return true;
  }
  return true;
}

// The transport, and a nexthop if it brings one.
bool Routes::ByDefaultTransport(std::string_view sender, std::string_view /*domain*/,
                                Way* way) const {
  const config::RoutingOptions& options = config_->options.routing;
  TransportSpec spec = options.default_transport;
  std::optional<TableHit> by_sender;
  if (!config_->default_transports->empty()) {
    std::optional<TableHit> hit;
    const auto keys = KeysOf(sender, options.empty_address_default_transport_maps_lookup_key,
                             config_->options.general);
    if (!Find(config_->default_transports, keys, &hit)) return false;
    if (hit && !EqualsIgnoreCase(hit->value, "DUNNO")) {
      // Values were checked when the table was loaded.
      const auto parsed =
          config::ParseTransport(hit->value, config_->options.smtp.smtp_tcp_port_number);
      if (parsed.ok() && parsed->transport) {
        spec = *parsed;
        by_sender = std::move(hit);
      }
    }
  }
  way->transport = spec.transport.value_or(Transport::kSmtp);
  if (!spec.nexthop.empty()) way->nexthop = spec.nexthop;
  if (way->steps == nullptr) return true;
  const std::string_view name = config::TransportName(way->transport);
  if (by_sender) {
    way->Note("sender_dependent_default_transport_maps: {}: {}", by_sender->origin, name);
  } else if (!spec.nexthop.empty() || way->transport != Transport::kSmtp) {
    way->Note("default_transport ({}): {}", config_->Origin("default_transport"), name);
  }
  return true;
}

bool Routes::ByRelayhost(std::string_view sender, std::string_view domain, Way* way) const {
  const config::RoutingOptions& options = config_->options.routing;
  way->nexthop = relayhost_.empty() ? std::string(domain) : relayhost_;
  if (!config_->sender_relayhosts->empty()) {
    std::optional<TableHit> hit;
    const auto keys =
        KeysOf(sender, options.empty_address_relayhost_maps_lookup_key, config_->options.general);
    if (!Find(config_->sender_relayhosts, keys, &hit)) return false;
    if (hit && !EqualsIgnoreCase(hit->value, "DUNNO")) {
      const auto relays =
          config::ParseNexthops(hit->value, config_->options.smtp.smtp_tcp_port_number);
      if (relays.ok() && !relays->empty()) {
        way->nexthop = RelayhostName(*relays);
        way->Note("sender_dependent_relayhost_maps: {}", hit->origin);
        return true;
      }
    } else if (hit) {
      way->Note("sender_dependent_relayhost_maps: {}: DUNNO", hit->origin);
    }
  }
  if (relayhost_.empty()) {
    way->Note("the recipient's domain: relayhost is empty");
  } else if (way->steps != nullptr) {
    way->Note("relayhost ({})", config_->Origin("relayhost"));
  }
  return true;
}

bool Routes::ByTransportMaps(std::string_view recipient, std::string_view domain, Way* way) const {
  if (config_->transports->empty()) return true;
  std::optional<TableHit> hit;
  const auto keys = TransportKeys(recipient, config_->options.general, parents_match_);
  if (!Find(config_->transports, keys, &hit)) return false;
  if (!hit) return true;
  const auto spec = config::ParseTransport(hit->value, config_->options.smtp.smtp_tcp_port_number);
  if (!spec.ok()) return false;
  way->Note("transport_maps: {}: {}", hit->origin, Printable(hit->value, 200));
  if (spec->transport) {
    // A transport without a nexthop is the recipient's domain again, whatever relayhost says.
    way->transport = *spec->transport;
    way->nexthop = way->transport == Transport::kSmtp ? std::string(domain) : std::string();
  }
  if (!spec->nexthop.empty()) way->nexthop = spec->nexthop;
  return true;
}

// Whose entry decides is part of the name; other senders share the line without one.
void Routes::AddLogin(std::string_view sender, HopName* hop,
                      std::vector<std::string>* steps) const {
  const config::SaslOptions& sasl = config_->options.sasl;
  if (!sasl.smtp_sasl_auth_enable || !sasl.smtp_sender_dependent_authentication) return;
  for (const std::string& key : SenderKeys(sender, config_->options.general)) {
    const absl::StatusOr<std::optional<TableHit>> hit = config_->sasl_passwords->Lookup(key);
    // What cannot answer now is asked again when the session logs in, and defers then.
    if (!hit.ok() || !hit->has_value()) continue;
    hop->sender_key = AsciiLowered(key);
    if (steps != nullptr) {
      steps->push_back(fmt::format("smtp_sender_dependent_authentication: {} (key {})",
                                   (*hit)->origin, Printable(key, 320)));
    }
    return;
  }
}

HopName Routes::Resolve(std::string_view sender, std::string_view recipient,
                        std::vector<std::string>* steps) const {
  if (by_relayhost_alone_ && steps == nullptr) return Hop(Transport::kSmtp, relayhost_);
  const size_t at = recipient.rfind('@');
  const std::string domain = at == std::string_view::npos ? config_->options.general.myhostname
                                                          : AsciiLowered(recipient.substr(at + 1));
  Way way{.steps = steps};
  // In Postfix's order, each overriding what was found before it.
  if (!ByRelayhost(sender, domain, &way)) {
    return LookupFailed("sender_dependent_relayhost_maps", steps);
  }
  if (!ByDefaultTransport(sender, domain, &way)) {
    return LookupFailed("sender_dependent_default_transport_maps", steps);
  }
  if (!ByTransportMaps(recipient, domain, &way)) return LookupFailed("transport_maps", steps);
  HopName hop = Hop(way.transport, way.nexthop);
  if (hop.transport == Transport::kSmtp) AddLogin(sender, &hop, steps);
  return hop;
}

}  // namespace mailrace::engine
