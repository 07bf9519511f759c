// The registry's chapter on routing: which nexthop a recipient's mail goes to.
#include <fmt/format.h>

#include "engine/config/parameter_builders.h"
#include "engine/config/relayhost.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status SetDefaultTransport(std::string_view text, Options& o) {
  const absl::StatusOr<TransportSpec> spec = ParseTransport(text, o.smtp.smtp_tcp_port_number);
  if (!spec.ok()) return spec.status();
  if (!spec->transport) return absl::InvalidArgumentError("null transport is not allowed");
  o.routing.default_transport = *spec;
  return absl::OkStatus();
}

absl::Status SetRelayTransport(std::string_view text, Options& o) {
  const absl::StatusOr<TransportSpec> spec = ParseTransport(text, o.smtp.smtp_tcp_port_number);
  if (!spec.ok()) return spec.status();
  if (spec->transport != Transport::kSmtp || !spec->nexthop.empty()) {
    return absl::InvalidArgumentError(
        "is for relay_domains, which have no meaning here; route these domains by transport_maps");
  }
  o.routing.relay_transport = std::string(text);
  return absl::OkStatus();
}

absl::Status SetProxyInterfaces(std::string_view text, Options& o) {
  const absl::StatusOr<std::vector<std::string>> words = SplitList(text);
  if (!words.ok()) return words.status();
  o.routing.proxy_interfaces.clear();
  for (std::string_view word : *words) {
    if (word.starts_with('[') && word.ends_with(']')) word = word.substr(1, word.size() - 2);
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(word);
    if (!ip.ok()) {
      return absl::InvalidArgumentError(fmt::format("\"{}\" is not an IP address", word));
    }
    o.routing.proxy_interfaces.push_back(*ip);
  }
  return absl::OkStatus();
}

}  // namespace

ParameterGroup RoutingParameters() {
  return {
      "Routing",
      "Which next-hop a recipient's mail goes to. The first that says something decides: "
      "transport_maps; the next-hop in sender_dependent_default_transport_maps or "
      "default_transport; sender_dependent_relayhost_maps; relayhost; the recipient's domain. "
      "`mailrace explain` shows it for an address.",
      {
          Text("transport_maps", "", MAILRACE_FIELD(routing.transport_maps), "lookup tables",
               "transport:nexthop by recipient: user+ext@domain, user@domain, domain, .parent, "
               "*. Transports are smtp and relay (the same), error, retry and discard. smtp: "
               "alone is the recipient's domain by its MX; :[host] changes the next-hop only; "
               "error:5.1.2 text refuses.",
               "smtp:[internal.example.com] for the mail of an own server that does not go "
               "through the relay."),
          Text("sender_dependent_relayhost_maps", "",
               MAILRACE_FIELD(routing.sender_dependent_relayhost_maps), "lookup tables",
               "A relayhost by envelope sender: user+ext@domain, user@domain, user if the domain "
               "is ours, @domain. DUNNO: relayhost.",
               "When senders have different providers; see also "
               "smtp_sender_dependent_authentication."),
          Text("sender_dependent_default_transport_maps", "",
               MAILRACE_FIELD(routing.sender_dependent_default_transport_maps), "lookup tables",
               "A default_transport by envelope sender, found as in "
               "sender_dependent_relayhost_maps. Its next-hop, if it has one, overrides any "
               "relayhost.",
               "error: or retry: for the mail of one sender."),
          Text("empty_address_relayhost_maps_lookup_key", "<>",
               MAILRACE_FIELD(routing.empty_address_relayhost_maps_lookup_key), "text",
               "What the null sender is called in sender_dependent_relayhost_maps.",
               "Hardly ever."),
          Text("empty_address_default_transport_maps_lookup_key", "<>",
               MAILRACE_FIELD(routing.empty_address_default_transport_maps_lookup_key), "text",
               "What the null sender is called in sender_dependent_default_transport_maps.",
               "Hardly ever."),
          Custom("default_transport", "smtp", &SetDefaultTransport, "transport:nexthop",
                 "What carries mail for which transport_maps has no entry. A next-hop in it "
                 "overrides relayhost.",
                 "error:text or retry:text on a host that may send to the destinations in "
                 "transport_maps only."),
          Custom("relay_transport", "relay", &SetRelayTransport, "smtp or relay",
                 "Accepted for compatibility, without effect.", "Never."),
          List("parent_domain_matches_subdomains", "",
               MAILRACE_FIELD(routing.parent_domain_matches_subdomains), "parameter names",
               "With transport_maps among them, a key example.com matches all its subdomains; "
               "without, .example.com does. Other names have no meaning here.",
               "transport_maps for tables that were written for such a Postfix."),
          Custom("proxy_interfaces", "", &SetProxyInterfaces, "IP addresses",
                 "Addresses at which the world reaches our port 25 through a proxy or NAT. A "
                 "domain whose best mail exchanger has one of them loops back to us. What "
                 "submission_listen names is known anyway.",
                 "On a mail exchanger behind NAT."),
          YesNo("ignore_mx_lookup_error", "no", MAILRACE_FIELD(routing.ignore_mx_lookup_error),
                "Try the domain's own address when its MX lookup fails, instead of deferring.",
                "For domains with broken name servers; mail may go to the wrong host."),
          YesNo("smtp_balance_inet_protocols", "yes",
                MAILRACE_FIELD(routing.smtp_balance_inet_protocols),
                "Within smtp_mx_address_limit keep room for both IP versions.", "Hardly ever."),
          YesNo("smtp_defer_if_no_mx_address_found", "no",
                MAILRACE_FIELD(routing.smtp_defer_if_no_mx_address_found),
                "Defer when no mail exchanger of a domain has an address, instead of failing.",
                "When exchangers are added before their addresses."),
      }};
}

}  // namespace mailrace::engine::config
