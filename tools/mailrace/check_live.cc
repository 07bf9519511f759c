// `mailrace check --live`: dials every destination of a configuration, as a delivery would,
// and says what to change where that fails. No message is sent.
#include <cstdio>
#include <memory>
#include <utility>

#include "engine/config/config.h"
#include "engine/delivery/dead_addresses.h"
#include "engine/delivery/live_probe.h"
#include "engine/routing/routes.h"
#include "engine/settings_from_config.h"
#include "engine/shard_credentials.h"
#include "engine/shard_helper.h"
#include "engine/shard_inbox.h"
#include "engine/tls_session_cache.h"
#include "fmt/format.h"
#include "tools/mailrace/commands.h"
#include "tools/mailrace/live_advice.h"
#include "transport/dns/dns_service.h"
#include "transport/dns/unbound_resolver.h"
#include "transport/uring/uring_shard.h"

namespace mailrace::tools {

namespace {

using engine::HopName;
using engine::config::Config;
using engine::config::Nexthop;

// A server that never answers is not waited for as long as a delivery does.
constexpr absl::Duration kPatience = absl::Seconds(30);

class WarningPrinter final : public Logger {
 public:
  void Log(Severity severity, std::string_view, std::string line) override {
    if (severity != Severity::kInfo) std::fprintf(stderr, "  %s\n", line.c_str());
  }
};

// Nobody else waits for this thread.
class HereHelper final : public Helper {
 public:
  void Run(std::function<void()> work, std::function<void()> done) override {
    work();
    done();
  }
};

void AddHop(const Config& config, std::string destination, const HopName& hop, std::string origin,
            std::string reverse_path, std::vector<ProbedRoute>* routes) {
  if (hop.transport != engine::config::Transport::kSmtp) {
    std::printf("%s: %s, no server is asked\n", destination.c_str(), hop.ToString().c_str());
    return;
  }
  const auto nexthops =
      engine::config::ParseNexthops(hop.nexthops, config.options.smtp.smtp_tcp_port_number);
  if (!nexthops.ok()) {
    std::fprintf(stderr, "mailrace: %s: %s\n", destination.c_str(),
                 std::string(nexthops.status().message()).c_str());
    return;
  }
  for (const Nexthop& nexthop : *nexthops) {
    bool known = false;
    for (const ProbedRoute& route : *routes) {
      known = known || (route.nexthop.text == nexthop.text && route.sender_key == hop.sender_key);
    }
    if (!known) routes->push_back({destination, nexthop, hop.sender_key, reverse_path, origin});
  }
}

void AddDestination(const Config& config, const engine::Routes& routes, std::string destination,
                    const std::string& sender, std::vector<ProbedRoute>* out) {
  const bool nexthop = destination.starts_with('[') || destination.find(':') != std::string::npos;
  if (nexthop && destination.find('@') == std::string::npos) {
    HopName hop;
    hop.nexthops = destination;
    AddHop(config, destination, hop, "the command line", sender, out);
    return;
  }
  const bool address = destination.find('@') != std::string::npos;
  std::vector<std::string> steps;
  const HopName hop =
      routes.Resolve(sender, address ? destination : "postmaster@" + destination, &steps);
  std::string origin = steps.empty() ? std::string() : steps.back();
  // Whose login it is says nothing of the way.
  if (!hop.sender_key.empty() && steps.size() > 1) origin = steps[steps.size() - 2];
  AddHop(config, destination, hop, origin, sender, out);
}

// Every nexthop that is written down somewhere.
std::vector<ProbedRoute> AllRoutes(const Config& config, const engine::Routes& routes,
                                   const std::string& sender) {
  std::vector<ProbedRoute> all;
  const uint16_t port = config.options.smtp.smtp_tcp_port_number;
  const auto add = [&](std::string_view nexthops, std::string origin) {
    HopName hop;
    hop.nexthops = std::string(nexthops);
    AddHop(config, hop.nexthops, hop, std::move(origin), sender, &all);
  };
  if (!config.options.smtp.relayhost.empty()) {
    // By the sender, who may have a relayhost or a login of its own.
    AddDestination(config, routes, "example.invalid", sender, &all);
    add(engine::RelayhostName(config.options.smtp.relayhost),
        fmt::format("relayhost ({})", config.Origin("relayhost")));
  }
  const auto add_entries = [&](const engine::tables::TableList& list, std::string_view parameter) {
    for (const auto& table : list.tables()) {
      table->ForEach([&](std::string_view key, std::string_view value) {
        const auto spec = engine::config::ParseTransport(value, port);
        const bool smtp = spec.ok() && !spec->nexthop.empty() &&
                          spec->transport.value_or(engine::config::Transport::kSmtp) ==
                              engine::config::Transport::kSmtp;
        const auto hit = table->Lookup(key);
        if (!smtp || !hit.ok() || !hit->has_value()) return;
        add(spec->nexthop, fmt::format("{}: {}", parameter, (*hit)->origin));
      });
    }
  };
  add_entries(*config.transports, "transport_maps");
  add_entries(*config.default_transports, "sender_dependent_default_transport_maps");
  for (const auto& table : config.sender_relayhosts->tables()) {
    table->ForEach([&](std::string_view key, std::string_view value) {
      const auto hit = table->Lookup(key);
      if (value == "DUNNO" || !hit.ok() || !hit->has_value()) return;
      add(value, fmt::format("sender_dependent_relayhost_maps: {}", (*hit)->origin));
    });
  }
  if (!config.options.smtp.smtp_fallback_relay.empty()) {
    add(engine::RelayhostName(config.options.smtp.smtp_fallback_relay),
        fmt::format("smtp_fallback_relay ({})", config.Origin("smtp_fallback_relay")));
  }
  return all;
}

void Print(std::string_view name, std::string_view result, std::string_view text) {
  std::printf("  %-9s %-6s %s\n", std::string(name).c_str(), std::string(result).c_str(),
              std::string(text).c_str());
}

// True if every server of the route is as it should be.
bool Report(const Config& config, const ProbedRoute& route,
            const std::vector<engine::ProbedServer>& servers) {
  std::printf("%s\n", route.nexthop.text.c_str());
  if (!route.sender_key.empty()) Print("login of", "", route.sender_key);
  Print("by", "", route.origin);
  bool good = true;
  for (const engine::ProbedServer& server : servers) {
    for (const engine::ProbeStep& step : server.steps) {
      using Result = engine::ProbeStep::Result;
      Print(engine::ProbeStepName(step.kind),
            step.result == Result::kGood      ? "ok"
            : step.result == Result::kSkipped ? "-"
                                              : "FAILED",
            step.text);
    }
    if (server.good()) continue;
    good = false;
    for (const std::string& advice : Advice(config, route, server.host, server.steps.back())) {
      Print("change", "", advice);
    }
  }
  std::printf("  %s\n\n", good ? "good" : "mail that goes there would wait");
  return good;
}

class LiveCheck {
 public:
  explicit LiveCheck(std::shared_ptr<const Config> config,
                     std::shared_ptr<const engine::Settings> settings)
      : config_(std::move(config)),
        settings_(std::move(settings)),
        ring_(&clock_),
        inbox_([this] { ring_.Wake(); }),
        tokens_(&clock_, [](const engine::tokens::TokenSpec& spec, absl::Time now) {
          return engine::tokens::FetchToken(spec, now, nullptr);
        }) {}

  // The process's exit status.
  int Run(std::vector<ProbedRoute> routes, std::vector<std::string> recipients) {
    ring_.OnWake([this] { inbox_.Drain(); });
    if (const absl::Status status = ring_.Open(); !status.ok()) {
      std::fprintf(stderr, "mailrace: %s\n", std::string(status.message()).c_str());
      return 69;
    }
    auto dns = transport::dns::DnsService::Start({});
    if (!dns.ok()) {
      std::fprintf(stderr, "mailrace: %s\n", std::string(dns.status().message()).c_str());
      return 69;
    }
    transport::dns::UnboundResolver resolver(*dns, &ring_.loop(), &inbox_);
    engine::ShardTokens tokens(&ring_.loop(), &here_, &tokens_);
    engine::ShardContext context;
    context.loop = &ring_.loop();
    context.network = &ring_.network();
    context.resolver = &resolver;
    context.logger = &printer_;
    context.random = &random_;
    context.credential_pauses = &pauses_;
    context.settings = settings_;
    context.stats = &stats_;
    context.tls_sessions = &tls_sessions_;
    context.dead_addresses = &dead_;
    context.salted_passwords = &salted_;
    context.tokens = &tokens;
    TaskScope scope(&ring_.loop());
    scope.Spawn(ProbeAll(&context, std::move(routes), std::move(recipients)));
    ring_.Run([this] { return done_; });
    return good_ ? 0 : 1;
  }

 private:
  Task<void> ProbeAll(engine::ShardContext* context, std::vector<ProbedRoute> routes,
                      std::vector<std::string> recipients) {
    for (const ProbedRoute& route : routes) {
      engine::ProbeOptions options;
      options.nexthop = route.nexthop;
      options.sender_key = route.sender_key;
      options.reverse_path = route.reverse_path;
      options.recipients = recipients;
      const std::vector<engine::ProbedServer> servers =
          co_await engine::ProbeNexthop(context, settings_, std::move(options));
      good_ = Report(*config_, route, servers) && good_;
    }
    done_ = true;
  }

  const std::shared_ptr<const Config> config_;
  const std::shared_ptr<const engine::Settings> settings_;
  SystemClock clock_;
  SystemRandom random_;
  WarningPrinter printer_;
  HereHelper here_;
  transport::uring::UringShard ring_;
  engine::ShardInbox inbox_;
  engine::tokens::TokenStore tokens_;
  engine::CredentialPauses pauses_;
  engine::ShardStats stats_;
  engine::TlsSessionCache tls_sessions_;
  engine::DeadAddresses dead_;
  transport::sasl::SaltedPasswords salted_;
  bool good_ = true;
  bool done_ = false;
};

}  // namespace

int CheckLive(std::shared_ptr<const Config> config,
              std::shared_ptr<const engine::Settings> settings, const CheckArguments& arguments) {
  // Patience is for mail, not for who sits at a terminal.
  auto hasty = std::make_shared<engine::Settings>(*settings);
  hasty->connect_timeout = std::min(hasty->connect_timeout, kPatience);
  for (absl::Duration* timeout :
       {&hasty->timeouts.greeting, &hasty->timeouts.helo, &hasty->timeouts.starttls,
        &hasty->timeouts.auth, &hasty->timeouts.mail, &hasty->timeouts.rcpt}) {
    *timeout = std::min(*timeout, kPatience);
  }
  const engine::Routes routes(config);
  std::vector<ProbedRoute> probed;
  for (const std::string& destination : arguments.destinations) {
    AddDestination(*config, routes, destination, arguments.sender, &probed);
  }
  for (const std::string& recipient : arguments.recipients) {
    AddDestination(*config, routes, recipient, arguments.sender, &probed);
  }
  if (arguments.destinations.empty() && arguments.recipients.empty()) {
    probed = AllRoutes(*config, routes, arguments.sender);
  }
  if (probed.empty()) {
    std::fprintf(stderr, "mailrace: there is nowhere to dial: name a destination\n");
    return 64;
  }
  return LiveCheck(config, std::move(hasty)).Run(std::move(probed), arguments.recipients);
}

}  // namespace mailrace::tools
