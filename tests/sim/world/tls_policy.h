// TLS and credentials in the simulated world: real handshakes over the simulated network.
#pragma once

#include <memory>

#include "engine/routing/destination_policy.h"

namespace mailrace::sim {

// A certificate that nobody vouches for, the same for all relays of a process.
std::shared_ptr<const transport::tls::Context> RelayTlsContext();

// Level "encrypt" for every server, and credentials that may not go out without it.
class EncryptPolicy final : public engine::DestinationPolicy {
 public:
  EncryptPolicy();
  Tls TlsFor(std::string_view nexthop, std::string_view host) const override;
  Sasl CredentialsFor(const engine::CredentialQuery& query) const override;
  transport::sasl::SecurityOptions SaslOptions(Security security) const override;
  std::vector<std::string> FilterMechanisms(
      const std::vector<std::string>& offered) const override {
    return offered;
  }
  bool sasl_enabled() const override { return true; }

 private:
  std::shared_ptr<const transport::tls::Context> context_;
};

}  // namespace mailrace::sim
