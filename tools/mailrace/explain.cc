// `mailrace explain DEST`: what policy says about a destination, and which line said so.
#include <cstdio>

#include "engine/config/config.h"
#include "engine/config/relayhost.h"
#include "engine/routing/routes.h"
#include "engine/routing/sasl_policy.h"
#include "engine/routing/tls_policy.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

namespace {

using engine::HopName;
using engine::config::Config;
using engine::config::Nexthop;

void Line(std::string_view name, std::string_view value) {
  std::printf("%-14s %.*s\n", fmt::format("{}:", name).c_str(), static_cast<int>(value.size()),
              value.data());
}

void ExplainTls(const Config& config, const Nexthop& nexthop) {
  const engine::TlsPolicyResult result = engine::ResolveTlsPolicy(
      config.options.tls, *config.tls_per_site, *config.tls_policies, nexthop.text, nexthop.host);
  if (!result.policy) {
    Line("TLS", fmt::format("mail is deferred: {} {}", result.status.ToString(), result.reason));
  } else {
    const engine::TlsPolicy& policy = *result.policy;
    Line("TLS level", fmt::format("{} ({})", engine::config::TlsLevelName(policy.level),
                                  engine::DescribeTlsLevel(policy.level)));
    Line("  decided by", result.decided_by);
    if (!policy.match_names.empty())
      Line("  match", fmt::format("{}", fmt::join(policy.match_names, ", ")));
    if (policy.match_ip) Line("  match", policy.match_ip->ToString());
    if (!policy.fingerprints.empty()) {
      Line("  fingerprint", fmt::format("{}", fmt::join(policy.fingerprints, ", ")));
    }
    if (policy.level != engine::TlsLevel::kNone) {
      Line("  protocols", policy.protocols);
      Line("  ciphers", policy.cipher_grade);
      Line("  trust",
           policy.trust_anchor_files.empty()
               ? fmt::format("smtp_tls_CAfile = {} ({})", config.options.tls.smtp_tls_CAfile,
                             config.Origin("smtp_tls_CAfile"))
               : fmt::format("{}", fmt::join(policy.trust_anchor_files, ", ")));
    }
  }
  for (const std::string& step : result.steps) Line("  because", step);
  for (const std::string& warning : result.warnings) Line("  warning", warning);
}

void ExplainLogin(const Config& config, const Nexthop& nexthop, std::string_view sender_key) {
  const engine::CredentialResult login =
      engine::FindCredentials(config.options.sasl, config.options.general, *config.sasl_passwords,
                              *config.sasl_tokens, {sender_key, nexthop.host, nexthop.text});
  if (login.failed) {
    Line("login", fmt::format("mail is deferred: {} {}", login.status.ToString(), login.reason));
  } else if (!login.credentials) {
    Line("login", config.options.sasl.smtp_sasl_auth_enable ? "none: no entry in the table"
                                                            : "off: smtp_sasl_auth_enable = no");
  } else {
    Line("login", fmt::format("as {}", login.credentials->user));
    Line("  decided by", fmt::format("{} (key {})", login.decided_by, login.key));
  }
  for (const std::string& step : login.steps) Line("  because", step);
  using engine::ConnectionSecurity;
  for (const auto& [security, name] :
       {std::pair(ConnectionSecurity::kClear, "in clear"),
        std::pair(ConnectionSecurity::kTls, "over TLS"),
        std::pair(ConnectionSecurity::kTlsMatched, "verified TLS")}) {
    const auto choice = engine::ChooseSecurityOptions(config.options.sasl, security);
    const auto setting = config.settings.find(choice.parameter);
    Line(fmt::format("  {}", name),
         fmt::format("{} = {} ({})", choice.parameter,
                     setting == config.settings.end() ? "" : setting->second.value,
                     config.Origin(choice.parameter)));
  }
}

// A relay that the configuration knows, by its whole text or its host alone.
bool IsRelay(const Config& config, const Nexthop& asked, HopName* hop) {
  for (const Nexthop& relay : config.options.smtp.relayhost) {
    if (relay.text != asked.text && relay.host != asked.host) continue;
    hop->nexthops = relay.text;
    return true;
  }
  return false;
}

// An address or a domain is routed; what has brackets or a port is a nexthop already.
bool FindHop(const Config& config, const ExplainArguments& arguments, HopName* hop,
             std::vector<std::string>* steps) {
  const std::string& name = arguments.destination;
  const engine::Routes routes(std::shared_ptr<const Config>(std::shared_ptr<void>(), &config));
  if (name.find('@') != std::string::npos) {
    *hop = routes.Resolve(arguments.sender, name, steps);
    return true;
  }
  const auto asked = engine::config::ParseNexthop(name, config.options.smtp.smtp_tcp_port_number);
  if (!asked.ok()) {
    std::fprintf(stderr, "mailrace: %s: %s\n", name.c_str(),
                 std::string(asked.status().message()).c_str());
    return false;
  }
  if (IsRelay(config, *asked, hop)) return true;
  if (name.starts_with('[') || name.find(':') != std::string::npos) {
    hop->nexthops = asked->text;
    return true;
  }
  *hop = routes.Resolve(arguments.sender, "postmaster@" + name, steps);
  return true;
}

}  // namespace

int Explain(const ExplainArguments& arguments) {
  engine::config::Diagnostics diagnostics;
  engine::config::LoadEnvironment environment;
  environment.overrides = arguments.overrides;
  const auto config = engine::config::LoadConfig(arguments.directory, environment, &diagnostics);
  std::fputs(diagnostics.ToString(false).c_str(), stderr);
  if (config == nullptr) return 78;
  HopName hop;
  std::vector<std::string> steps;
  if (!FindHop(*config, arguments, &hop, &steps)) return 64;
  Line("destination", arguments.destination);
  Line("routed to", hop.ToString());
  for (const std::string& step : steps) Line("  decided by", step);
  if (hop.transport != engine::config::Transport::kSmtp) return 0;
  const auto nexthops =
      engine::config::ParseNexthops(hop.nexthops, config->options.smtp.smtp_tcp_port_number);
  if (!nexthops.ok()) {
    std::fprintf(stderr, "mailrace: %s: %s\n", hop.nexthops.c_str(),
                 std::string(nexthops.status().message()).c_str());
    return 64;
  }
  for (const Nexthop& nexthop : *nexthops) {
    std::printf("\n");
    Line("nexthop", nexthop.text);
    Line("host", fmt::format("{} port {}{}", nexthop.host, nexthop.port,
                             nexthop.lookup_mx && !nexthop.address_literal
                                 ? ", by its MX records if it has any"
                                 : ""));
    ExplainTls(*config, nexthop);
    ExplainLogin(*config, nexthop, hop.sender_key);
  }
  return 0;
}

}  // namespace mailrace::tools
