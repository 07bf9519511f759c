// Which way mail takes. Each member is the parameter of its name; meaning, unit, default
// and range: docs/CONFIGURATION.md.
#pragma once

#include <string>
#include <vector>

#include "base/socket_address.h"
#include "engine/config/transport.h"

namespace mailrace::engine::config {

struct RoutingOptions {
  std::string transport_maps;
  std::string sender_dependent_relayhost_maps;
  std::string sender_dependent_default_transport_maps;
  std::string empty_address_relayhost_maps_lookup_key;
  std::string empty_address_default_transport_maps_lookup_key;
  TransportSpec default_transport;  // The transport is set.
  std::string relay_transport;      // Checked, without effect.
  std::vector<std::string> parent_domain_matches_subdomains;
  std::vector<IpAddress> proxy_interfaces;
  bool ignore_mx_lookup_error = false;
  bool smtp_balance_inet_protocols = true;
  bool smtp_defer_if_no_mx_address_found = false;
};

}  // namespace mailrace::engine::config
