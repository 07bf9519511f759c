// DestinationPolicy as main.cf and its tables say it, with a TLS context for every
// policy that they can lead to: files are read when the configuration is loaded, not
// when a shard wants a session.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/config/config.h"
#include "engine/routing/destination_policy.h"
#include "engine/routing/tls_policy.h"

namespace mailrace::engine {

class ConfiguredPolicy final : public DestinationPolicy {
 public:
  // Null after errors (certificates, keys, trust anchors), which are in *diagnostics.
  static std::shared_ptr<const ConfiguredPolicy> Make(std::shared_ptr<const config::Config> config,
                                                      config::Diagnostics* diagnostics);

  Tls TlsFor(std::string_view nexthop, std::string_view host) const override;
  Sasl CredentialsFor(const CredentialQuery& query) const override;
  transport::sasl::SecurityOptions SaslOptions(Security security) const override;
  std::vector<std::string> FilterMechanisms(const std::vector<std::string>& offered) const override;
  bool sasl_enabled() const override { return config_->options.sasl.smtp_sasl_auth_enable; }

 private:
  using ContextPtr = std::shared_ptr<const transport::tls::Context>;
  explicit ConfiguredPolicy(std::shared_ptr<const config::Config> config)
      : config_(std::move(config)) {}
  absl::StatusOr<ContextPtr> MakeContext(const TlsPolicy& policy) const;
  // Makes the contexts of all levels and of all table entries.
  bool Prepare(config::Diagnostics* diagnostics);
  bool PrepareOne(const TlsPolicyResult& result, config::Diagnostics* diagnostics);
  void WarnOfEntry(const tables::LookupTable& table, std::string_view key,
                   config::Diagnostics* diagnostics) const;

  const std::shared_ptr<const config::Config> config_;
  std::map<std::string, ContextPtr> contexts_;  // By what distinguishes them.
};

}  // namespace mailrace::engine
