#include "tools/mailrace/live_advice.h"

#include "engine/routing/sasl_policy.h"
#include "engine/routing/tls_policy.h"
#include "fmt/format.h"

namespace mailrace::tools {

namespace {

using engine::config::Config;
using Kind = engine::ProbeStepKind;

std::string At(const Config& config, std::string_view parameter) {
  return fmt::format("{} ({})", parameter, config.Origin(parameter));
}

std::string PolicyOrigin(const Config& config, const ProbedRoute& route, std::string_view host) {
  const std::string decided =
      engine::ResolveTlsPolicy(config.options.tls, *config.tls_per_site, *config.tls_policies,
                               route.nexthop.text, host)
          .decided_by;
  // A parameter is found in main.cf, a table's entry is a place already.
  return config.settings.contains(decided) ? At(config, decided) : decided;
}

std::string LoginOrigin(const Config& config, const ProbedRoute& route, std::string_view host) {
  return engine::FindCredentials(config.options.sasl, config.options.general,
                                 *config.sasl_passwords, *config.sasl_tokens,
                                 {route.sender_key, host, route.nexthop.text})
      .decided_by;
}

// The parameter whose words may exclude a mechanism; each of three kinds of connection has one.
std::string OptionsOrigin(const Config& config, const ProbedRoute& route, std::string_view host) {
  const auto policy = engine::ResolveTlsPolicy(config.options.tls, *config.tls_per_site,
                                               *config.tls_policies, route.nexthop.text, host)
                          .policy;
  using engine::ConnectionSecurity;
  const bool matched = policy && policy->must_match();
  const bool clear = !policy || policy->level == engine::TlsLevel::kNone;
  const auto choice =
      engine::ChooseSecurityOptions(config.options.sasl, matched ? ConnectionSecurity::kTlsMatched
                                                         : clear ? ConnectionSecurity::kClear
                                                                 : ConnectionSecurity::kTls);
  return fmt::format("{} = {} ({})", choice.parameter, config.PrintableValue(choice.parameter),
                     config.Origin(choice.parameter));
}

}  // namespace

std::vector<std::string> Advice(const Config& config, const ProbedRoute& route,
                                std::string_view host, const engine::ProbeStep& failed) {
  const std::string policy = PolicyOrigin(config, route, host);
  switch (failed.kind) {
    case Kind::kDns:
      return {
          fmt::format("{}: is the name right? without brackets its MX is looked up, "
                      "[{}] is the host itself",
                      route.origin, route.nexthop.host)};
    case Kind::kConnect:
      return {fmt::format("{}: another host or port; many networks let 587 out and 25 not",
                          route.origin)};
    case Kind::kGreeting:
    case Kind::kEhlo:
      return {fmt::format("{}: is this a mail server, and does it want {} to greet as {}?",
                          route.origin, At(config, "smtp_helo_name"),
                          config.options.smtp.smtp_helo_name)};
    case Kind::kHelo:
      return {fmt::format("{}, {}: EHLO must be said for a server to offer STARTTLS",
                          At(config, "smtp_never_send_ehlo"), At(config, "smtp_always_send_ehlo")),
              fmt::format("{}: demands TLS; NONE, or the level none, would send in clear", policy)};
    case Kind::kStartTls:
      return {fmt::format("{}: the port may be another: 587 has STARTTLS; 465 is TLS from the "
                          "start and wants {} = yes",
                          route.origin, At(config, "smtp_tls_wrappermode")),
              fmt::format("{}: demands TLS; NONE, or the level none, would send in clear", policy)};
    case Kind::kChain:
      return {fmt::format("{}: must hold the authority that issued this certificate",
                          At(config, "smtp_tls_CAfile")),
              fmt::format("{}: demands a trusted chain", policy)};
    case Kind::kName:
      return {fmt::format("{}: use the name that the certificate has", route.origin),
              fmt::format("{}: demands that it matches", policy)};
    case Kind::kMechanism:
      return {fmt::format("{}: forbids what the server offers", OptionsOrigin(config, route, host)),
              fmt::format("{}: cuts down what the server offers",
                          At(config, "smtp_sasl_mechanism_filter"))};
    case Kind::kAuth:
      return {fmt::format("{}: user or password is wrong", LoginOrigin(config, route, host))};
    case Kind::kMail:
    case Kind::kRcpt: {
      const std::string login = LoginOrigin(config, route, host);
      if (!login.empty()) return {fmt::format("{}: may this user send as that?", login)};
      return {fmt::format("{}: has no entry for this server, so there was no login",
                          At(config, "smtp_sasl_password_maps"))};
    }
    case Kind::kPolicy:
      return {fmt::format("{}: cannot be applied", policy)};
  }
  return {};
}

}  // namespace mailrace::tools
