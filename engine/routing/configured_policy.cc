#include "engine/routing/configured_policy.h"

#include <utility>

#include "engine/routing/destination_key.h"
#include "engine/routing/sasl_policy.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace mailrace::engine {

std::shared_ptr<const ConfiguredPolicy> ConfiguredPolicy::Make(
    std::shared_ptr<const config::Config> config, config::Diagnostics* diagnostics) {
  std::shared_ptr<ConfiguredPolicy> policy(new ConfiguredPolicy(std::move(config)));
  if (!policy->Prepare(diagnostics)) return nullptr;
  return policy;
}

absl::StatusOr<ConfiguredPolicy::ContextPtr> ConfiguredPolicy::MakeContext(
    const TlsPolicy& policy) const {
  const config::TlsOptions& tls = config_->options.tls;
  transport::tls::ClientContextOptions options;
  options.ca_file = tls.smtp_tls_CAfile;
  options.ca_path = tls.smtp_tls_CApath;
  options.append_default_ca = tls.tls_append_default_CA;
  options.trust_anchor_files = policy.trust_anchor_files;
  options.cert_file = tls.smtp_tls_cert_file;
  options.key_file = tls.smtp_tls_key_file;
  options.eccert_file = tls.smtp_tls_eccert_file;
  options.eckey_file = tls.smtp_tls_eckey_file;
  options.chain_files = tls.smtp_tls_chain_files;
  options.protocols = policy.protocols;
  options.cipher_grade = policy.cipher_grade;
  options.exclude_ciphers = policy.exclude_ciphers;
  options.verify_depth = static_cast<int>(tls.smtp_tls_scert_verifydepth);
  return transport::tls::MakeClientContext(options);
}

bool ConfiguredPolicy::PrepareOne(const TlsPolicyResult& result, config::Diagnostics* diagnostics) {
  // What has no policy defers with its reason when it is used (WarnOfEntry).
  if (!result.policy || result.policy->level == TlsLevel::kNone) return true;
  const std::string key = CanonicalContext(*result.policy);
  if (contexts_.contains(key)) return true;
  absl::StatusOr<ContextPtr> context = MakeContext(*result.policy);
  if (!context.ok()) {
    diagnostics->Error(
        {result.decided_by, 0}, "",
        fmt::format("TLS cannot be set up: {}", std::string(context.status().message())));
    return false;
  }
  contexts_.emplace(key, *std::move(context));
  return true;
}

// Postfix finds out when mail is deferred by the entry.
void ConfiguredPolicy::WarnOfEntry(const tables::LookupTable& table, std::string_view key,
                                   config::Diagnostics* diagnostics) const {
  const absl::StatusOr<std::optional<tables::TableHit>> hit = table.Lookup(key);
  if (!hit.ok() || !hit->has_value()) return;
  // ".example.net" is looked up for the hosts of that domain.
  const std::string nexthop = fmt::format("{}{}", key.starts_with('.') ? "host" : "", key);
  const TlsPolicyResult result = ResolveTlsPolicy(config_->options.tls, *config_->tls_per_site,
                                                  *config_->tls_policies, nexthop, nexthop);
  const bool in_file = (*hit)->origin.starts_with('/');
  const auto setting = config_->settings.find("smtp_tls_policy_maps");
  const config::Place place = in_file ? config::Place{(*hit)->origin, 0}
                              : setting == config_->settings.end() ? config::Place{}
                                                                   : setting->second.place;
  for (const std::string& warning : result.warnings) {
    diagnostics->Warning(
        place, "smtp_tls_policy_maps",
        fmt::format("{}{}", warning, result.policy ? "" : ": mail for it would be deferred"));
  }
}

bool ConfiguredPolicy::Prepare(config::Diagnostics* diagnostics) {
  WarnOfMissingLogins(*config_, diagnostics);
  const config::Options& options = config_->options;
  const tables::TableList none({});
  const bool tables_used = !config_->tls_per_site->empty() || !config_->tls_policies->empty();
  if (options.tls.GlobalLevel() == TlsLevel::kNone && !tables_used) return true;
  for (const TlsLevel level : {TlsLevel::kMay, TlsLevel::kEncrypt, TlsLevel::kVerify}) {
    if (level != options.tls.GlobalLevel() && !tables_used) continue;
    config::TlsOptions at_level = options.tls;
    at_level.smtp_tls_security_level = config::TlsLevelName(level);
    at_level.smtp_tls_policy_maps.clear();
    at_level.smtp_tls_per_site.clear();
    if (!PrepareOne(ResolveTlsPolicy(at_level, none, none, "example.com", "example.com"),
                    diagnostics)) {
      return false;
    }
  }
  bool good = PrepareOne(ResolveTlsPolicy(options.tls, none, none, "example.com", "example.com"),
                         diagnostics);
  for (const auto& table : config_->tls_policies->tables()) {
    table->ForEach([&](std::string_view key, std::string_view) {
      WarnOfEntry(*table, key, diagnostics);
      good = good && PrepareOne(ResolveTlsPolicy(options.tls, *config_->tls_per_site,
                                                 *config_->tls_policies, key, key),
                                diagnostics);
    });
  }
  return good;
}

DestinationPolicy::Tls ConfiguredPolicy::TlsFor(std::string_view nexthop,
                                                std::string_view host) const {
  TlsPolicyResult result = ResolveTlsPolicy(config_->options.tls, *config_->tls_per_site,
                                            *config_->tls_policies, nexthop, host);
  Tls answer;
  answer.warnings = std::move(result.warnings);
  if (!result.policy) {
    answer.trouble = PolicyTrouble{result.status, std::move(result.reason)};
    return answer;
  }
  const TlsPolicy& policy = *result.policy;
  ServerTls& tls = answer.tls;
  tls.level = policy.level;
  tls.wrapper_mode = config_->options.tls.smtp_tls_wrappermode;
  if (tls.wrapper_mode && !policy.encrypted()) {
    // TLS from the first octet cannot be left out (reliability.md T-23): a table that asks
    // for that contradicts main.cf, and nothing is sent until somebody decides.
    answer.warnings.push_back(fmt::format("{}: TLS level {} contradicts smtp_tls_wrappermode = yes",
                                          result.decided_by, config::TlsLevelName(policy.level)));
    answer.trouble = PolicyTrouble{{4, 7, 5}, "client TLS configuration problem"};
    return answer;
  }
  if (policy.level == TlsLevel::kNone) return answer;
  tls.match_names = policy.match_names;
  tls.match_ip = policy.match_ip;
  tls.fingerprints = policy.fingerprints;
  tls.server_name = policy.server_name;
  tls.match_subject_cn = config_->options.tls.smtp_tls_match_subject_cn;
  tls.rules = CanonicalRules(policy);
  const auto prepared = contexts_.find(CanonicalContext(policy));
  if (prepared != contexts_.end()) {
    tls.context = prepared->second;
    return answer;
  }
  absl::StatusOr<ContextPtr> context = MakeContext(policy);
  if (context.ok()) {
    tls.context = *std::move(context);
  } else {
    answer.warnings.emplace_back(context.status().message());
    answer.trouble = PolicyTrouble{{4, 7, 5}, "client TLS configuration problem"};
  }
  return answer;
}

DestinationPolicy::Sasl ConfiguredPolicy::CredentialsFor(const CredentialQuery& query) const {
  CredentialResult result = FindCredentials(config_->options.sasl, config_->options.general,
                                            *config_->sasl_passwords, *config_->sasl_tokens, query);
  Sasl answer;
  if (result.failed) answer.trouble = PolicyTrouble{result.status, std::move(result.reason)};
  answer.credentials = std::move(result.credentials);
  answer.token = std::move(result.token);
  return answer;
}

transport::sasl::SecurityOptions ConfiguredPolicy::SaslOptions(Security security) const {
  ConnectionSecurity connection = ConnectionSecurity::kClear;
  if (security == Security::kTls) connection = ConnectionSecurity::kTls;
  if (security == Security::kVerifiedTls) connection = ConnectionSecurity::kTlsMatched;
  return ChooseSecurityOptions(config_->options.sasl, connection).options;
}

std::vector<std::string> ConfiguredPolicy::FilterMechanisms(
    const std::vector<std::string>& offered) const {
  return engine::FilterMechanisms(offered, config_->options.sasl.smtp_sasl_mechanism_filter);
}

}  // namespace mailrace::engine
