#include "engine/delivery/live_probe.h"

#include <utility>

#include "base/text.h"
#include "engine/delivery/server_login.h"
#include "engine/delivery/session_hello.h"
#include "engine/delivery/session_security.h"
#include "engine/delivery/target_finder.h"
#include "engine/logs/log_lines.h"
#include "engine/routing/destination_key.h"
#include "engine/routing/hop_name.h"
#include "fmt/format.h"

namespace mailrace::engine {

using transport::smtp::ClientSession;
using transport::smtp::Failure;
namespace tls = transport::tls;

namespace {

using Kind = ProbeStepKind;
using Result = ProbeStep::Result;

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + Printable(word, 80);
  return joined;
}

// One address, from connect to QUIT.
class ServerProbe {
 public:
  ServerProbe(ShardContext* context, std::shared_ptr<const Settings> settings,
              const ProbeOptions* options, const Target& target)
      : context_(context),
        settings_(std::move(settings)),
        options_(options),
        address_{target.ip, options->nexthop.port} {
    server.host = target.host;
    peer_ = {target.host, target.ip.ToString(), address_.port};
  }

  Task<void> Run();

  ProbedServer server;

 private:
  Task<bool> Connect();
  Task<bool> Greet();
  Task<bool> Secure();
  Task<bool> Wrap();
  Task<bool> LogIn();
  Task<void> TryEnvelope();
  bool ReadPolicy();
  // Chain and name of what the server showed; false if they are demanded and not there.
  bool JudgeCertificate();

  void Good(Kind kind, std::string text) { server.steps.push_back({kind, Result::kGood, text}); }
  void Skip(Kind kind, std::string text) {
    server.steps.push_back({kind, Result::kSkipped, std::move(text)});
  }
  bool Bad(Kind kind, std::string text) {
    server.steps.push_back({kind, Result::kBad, std::move(text)});
    return false;
  }
  bool Bad(Kind kind, const Failure& failure) {
    return Bad(kind, ExplainFailure(failure, peer_).text);
  }

  ShardContext* const context_;
  const std::shared_ptr<const Settings> settings_;
  const ProbeOptions* const options_;
  const SocketAddress address_;
  logs::Peer peer_;
  ServerTls tls_;
  Login login_;
  DestinationKey key_;
  bool by_helo_ = false;  // The server was not asked what it offers.
  std::unique_ptr<ClientSession> session_;
};

Task<void> ServerProbe::Run() {
  if (!ReadPolicy()) co_return;
  bool good = co_await Connect();
  if (good && tls_.wrapper_mode) good = co_await Wrap();
  if (good) good = co_await Greet();
  if (good) good = co_await Secure();
  if (good) good = co_await LogIn();
  if (good && !options_->recipients.empty()) co_await TryEnvelope();
  if (session_ != nullptr) co_await session_->Quit();
}

bool ServerProbe::ReadPolicy() {
  const DestinationPolicy& rules = *settings_->policy;
  DestinationPolicy::Tls policy = rules.TlsFor(options_->nexthop.text, peer_.host);
  if (policy.trouble) {
    return Bad(Kind::kPolicy,
               policy.warnings.empty() ? policy.trouble->text : policy.warnings.front());
  }
  tls_ = std::move(policy.tls);
  DestinationPolicy::Sasl sasl =
      rules.CredentialsFor({options_->sender_key, peer_.host, options_->nexthop.text});
  if (sasl.trouble) return Bad(Kind::kPolicy, sasl.trouble->text);
  login_ = {std::move(sasl.credentials), std::move(sasl.token)};
  HopName hop;
  hop.nexthops = options_->nexthop.text;
  hop.sender_key = options_->sender_key;
  key_ =
      KeyOf(hop.ToString(), peer_.host, address_, tls_, login_.credentials, settings_->generation);
  return true;
}

Task<bool> ServerProbe::Connect() {
  const std::optional<IpAddress> local =
      address_.ip.v6 ? settings_->bind_address6 : settings_->bind_address;
  const MonoTime deadline = context_->loop->now() + settings_->connect_timeout;
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection =
      co_await context_->network->Connect(address_, local, deadline);
  if (!connection.ok()) {
    const bool late = absl::IsDeadlineExceeded(connection.status());
    co_return Bad(Kind::kConnect,
                  logs::ConnectText(peer_, late ? "Connection timed out"
                                                : std::string(connection.status().message())));
  }
  Good(Kind::kConnect, logs::PeerNamePort(peer_));
  transport::smtp::ClientSessionOptions options;
  options.helo_name = settings_->helo_name;
  options.timeouts = settings_->timeouts;
  options.discard_ehlo_keywords = settings_->discard_ehlo_keywords;
  session_ = std::make_unique<ClientSession>(
      context_->loop, std::make_unique<transport::Stream>(*std::move(connection)), options);
  co_return true;
}

Task<bool> ServerProbe::Greet() {
  std::optional<Failure> failure = co_await session_->ReadGreeting();
  if (failure) co_return Bad(Kind::kGreeting, *failure);
  HelloNeeds needs;
  needs.starttls = tls_.level >= TlsLevel::kEncrypt && !tls_.wrapper_mode;
  needs.login = login_.credentials.has_value();
  const Hello hello = co_await SayHello(settings_.get(), session_.get(), needs);
  if (hello.failure) co_return Bad(Kind::kEhlo, *hello.failure);
  std::string name = Printable(session_->server_name(), 255);
  if (!hello.helo_because.empty()) {
    by_helo_ = true;
    name += fmt::format(", by HELO, which offers nothing: {}", hello.helo_because);
  }
  Good(Kind::kEhlo, std::move(name));
  co_return true;
}

bool ServerProbe::JudgeCertificate() {
  const tls::Engine* engine = session_->stream().tls();
  if (engine == nullptr) return false;
  const tls::Info& info = engine->info();
  if (info.protocol.empty()) return false;
  Good(Kind::kStartTls, fmt::format("{} with cipher {}", info.protocol, info.cipher));
  const bool pkix = tls_.level >= TlsLevel::kVerify;
  const std::string shown = fmt::format("subject {}, issuer {}", Printable(info.subject_cn, 100),
                                        Printable(info.issuer_cn, 100));
  if (info.chain_trusted) {
    Good(Kind::kChain, shown);
  } else {
    const std::string why = fmt::format("{} ({})", Printable(info.verify_problem, 200), shown);
    if (pkix) return Bad(Kind::kChain, why);
    Skip(Kind::kChain, fmt::format("not demanded: {}", why));
  }
  if (!pkix) return true;
  std::string wanted = Joined(tls_.match_names);
  if (tls_.match_ip) wanted = tls_.match_ip->ToString();
  if (!info.name_matched) {
    return Bad(Kind::kName, fmt::format("the certificate ({}) is not for {}", shown, wanted));
  }
  Good(Kind::kName, wanted);
  return true;
}

Task<bool> ServerProbe::Wrap() {
  const std::optional<std::string> refused =
      co_await WrapSessionTls(context_, settings_, session_.get(), tls_, key_, peer_);
  const bool trusted = JudgeCertificate();
  if (!refused) co_return true;
  if (trusted || server.good()) Bad(Kind::kStartTls, *refused);
  co_return false;
}

Task<bool> ServerProbe::Secure() {
  if (tls_.wrapper_mode) co_return true;
  const bool offered = session_->capabilities().starttls;
  const bool required = tls_.level >= TlsLevel::kEncrypt;
  if (tls_.level == TlsLevel::kNone || (!offered && !required)) {
    Skip(Kind::kStartTls, offered ? "offered, and not wanted: mail goes in clear"
                                  : "not offered: mail goes in clear");
    co_return true;
  }
  if (!offered) {
    co_return Bad(
        by_helo_ ? Kind::kHelo : Kind::kStartTls,
        fmt::format("TLS is required, but was not offered by host {}", logs::PeerName(peer_)));
  }
  const StartTlsOutcome outcome =
      co_await StartTlsByCommand(context_, settings_, session_.get(), tls_, key_, peer_);
  JudgeCertificate();
  if (outcome.state != StartTlsOutcome::State::kSecured) {
    if (!server.good()) co_return false;
    if (outcome.state == StartTlsOutcome::State::kRefusedUsable && !required) {
      Skip(Kind::kStartTls, outcome.trouble.text);
      co_return true;
    }
    co_return Bad(Kind::kStartTls, outcome.trouble.text);
  }
  const std::optional<Failure> failure = co_await session_->Ehlo();
  if (failure) co_return Bad(Kind::kEhlo, *failure);
  co_return true;
}

Task<bool> ServerProbe::LogIn() {
  if (!login_.credentials || !settings_->policy->sasl_enabled()) {
    Skip(Kind::kAuth, "no login is configured for this server");
    co_return true;
  }
  const transport::smtp::Capabilities& server_can = session_->capabilities();
  const uint64_t tried = context_->stats->auth_failures.value();
  const std::optional<LoginRefusal> refusal =
      co_await LogInToServer(context_, settings_, session_.get(), tls_, login_, peer_);
  if (refusal) {
    const bool asked = context_->stats->auth_failures.value() > tried;
    std::string text = refusal->trouble.text;
    if (!asked && server_can.auth_offered) {
      text += fmt::format("; it offers {}", Joined(server_can.auth_mechanisms));
    }
    co_return Bad(asked ? Kind::kAuth : Kind::kMechanism, std::move(text));
  }
  if (!server_can.auth_offered) {
    Skip(Kind::kAuth, fmt::format("{} {}: mail goes without a login", logs::PeerName(peer_),
                                  by_helo_ ? "was not asked for AUTH" : "announces no AUTH"));
    co_return true;
  }
  Good(Kind::kAuth, fmt::format("as {}", Printable(login_.credentials->user, 100)));
  co_return true;
}

Task<void> ServerProbe::TryEnvelope() {
  std::optional<Failure> failure = co_await session_->TryMail(options_->reverse_path);
  if (failure) {
    Bad(Kind::kMail, *failure);
    co_return;
  }
  Good(Kind::kMail, fmt::format("<{}>", Printable(options_->reverse_path, 320)));
  for (const std::string& recipient : options_->recipients) {
    failure = co_await session_->TryRcpt(recipient);
    if (failure) {
      Bad(Kind::kRcpt, *failure);
      co_return;
    }
    Good(Kind::kRcpt, fmt::format("<{}>", Printable(recipient, 320)));
  }
  co_await session_->TryReset();
}

}  // namespace

std::string_view ProbeStepName(ProbeStepKind kind) {
  switch (kind) {
    case Kind::kDns:
      return "DNS";
    case Kind::kConnect:
      return "connect";
    case Kind::kGreeting:
      return "greeting";
    case Kind::kEhlo:
      return "EHLO";
    case Kind::kHelo:
    case Kind::kStartTls:
      return "STARTTLS";
    case Kind::kChain:
      return "chain";
    case Kind::kName:
      return "name";
    case Kind::kMechanism:
    case Kind::kAuth:
      return "AUTH";
    case Kind::kMail:
      return "MAIL";
    case Kind::kRcpt:
      return "RCPT";
    case Kind::kPolicy:
      return "policy";
  }
  return "";
}

Task<std::vector<ProbedServer>> ProbeNexthop(ShardContext* context,
                                             std::shared_ptr<const Settings> settings,
                                             ProbeOptions options) {
  std::vector<ProbedServer> servers;
  const FoundTargets found = co_await FindTargets(context, settings, options.nexthop);
  if (found.targets.empty()) {
    const std::string why = found.trouble ? found.trouble->text : "no address";
    servers.push_back({"", {{Kind::kDns, Result::kBad, why}}});
    co_return servers;
  }
  for (const Target& target : found.targets) {
    if (servers.size() >= options.addresses_max) break;
    ServerProbe probe(context, settings, &options, target);
    co_await probe.Run();
    probe.server.steps.insert(
        probe.server.steps.begin(),
        {Kind::kDns, Result::kGood, fmt::format("{} is {}", target.host, target.ip.ToString())});
    servers.push_back(std::move(probe.server));
  }
  co_return servers;
}

}  // namespace mailrace::engine
