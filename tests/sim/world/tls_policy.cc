#include "tests/sim/world/tls_policy.h"

namespace mailrace::sim {

std::shared_ptr<const transport::tls::Context> RelayTlsContext() {
  static const auto context = *transport::tls::MakeSelfSignedServerContext("relay.test");
  return context;
}

EncryptPolicy::EncryptPolicy() {
  static const auto context = *transport::tls::MakeClientContext({});
  context_ = context;
}

engine::DestinationPolicy::Tls EncryptPolicy::TlsFor(std::string_view, std::string_view) const {
  Tls tls;
  tls.tls.level = engine::TlsLevel::kEncrypt;
  tls.tls.context = context_;
  tls.tls.rules = "encrypt";
  return tls;
}

engine::DestinationPolicy::Sasl EncryptPolicy::CredentialsFor(
    const engine::CredentialQuery&) const {
  return {transport::sasl::Credentials{"user", "secret"}, std::nullopt};
}

transport::sasl::SecurityOptions EncryptPolicy::SaslOptions(Security security) const {
  transport::sasl::SecurityOptions options;
  options.noanonymous = true;
  options.noplaintext = security == Security::kClear;
  return options;
}

}  // namespace mailrace::sim
