#include "engine/delivery/session_maker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/config/relayhost.h"
#include "engine/delivery/session_security.h"
#include "engine/logs/log_lines.h"
#include "fmt/format.h"

namespace mailrace::engine {

using config::Nexthop;
using transport::smtp::ClientSession;
using transport::smtp::ClientSessionOptions;
using transport::smtp::Failure;
using transport::smtp::Step;

namespace {

// A name cannot be resolved for ever; the resolver has its own retries within this.
constexpr absl::Duration kLookupTimeout = absl::Seconds(60);

struct Hosts {
  std::vector<std::string> names;
  std::optional<Trouble> trouble;
  bool permanent = false;
};

Trouble LookupTrouble(const std::string& name, std::string_view type, const absl::Status& status) {
  const bool temporary = !absl::IsNotFound(status);
  return {EnhancedStatus{4, 4, static_cast<uint16_t>(temporary ? 3 : 4)},
          fmt::format("Host or domain name not found. Name service error for name={} type={}: {}",
                      name, type, temporary ? "Host not found, try again" : "Host not found")};
}

// The mail exchangers of a nexthop, best first (RFC 5321 5.1).
Task<Hosts> FindHosts(ShardContext* context, bool use_mx, Nexthop nexthop) {
  Hosts hosts;
  if (!nexthop.lookup_mx || nexthop.address_literal || !use_mx) {
    hosts.names.push_back(nexthop.host);
    co_return hosts;
  }
  const MonoTime deadline = context->loop->now() + kLookupTimeout;
  const absl::StatusOr<transport::MxAnswer> answer =
      co_await context->resolver->Mx(nexthop.host, deadline);
  if (!answer.ok()) {
    hosts.trouble = LookupTrouble(nexthop.host, "MX", answer.status());
    hosts.permanent = absl::IsNotFound(answer.status());
    co_return hosts;
  }
  if (answer->records.size() == 1 && answer->records[0].host.empty()) {
    hosts.trouble =
        Trouble{{4, 1, 10}, fmt::format("Domain {} does not accept mail (nullMX)", nexthop.host)};
    hosts.permanent = true;
    co_return hosts;
  }
  for (const transport::MxRecord& record : answer->records) hosts.names.push_back(record.host);
  if (hosts.names.empty()) hosts.names.push_back(nexthop.host);  // The implicit MX.
  co_return hosts;
}

// One try at one address. Gives up what it holds when it fails.
class SessionTry {
 public:
  SessionTry(ShardContext* context, std::shared_ptr<const Settings> settings, Nexthop nexthop,
             std::string host, IpAddress ip, ClientSession** running)
      : context_(context),
        settings_(std::move(settings)),
        nexthop_(std::move(nexthop)),
        host_(std::move(host)),
        address_{ip, nexthop_.port},
        running_(running) {}

  // `allow_tls` false: the plain-text retry after a failed handshake.
  Task<void> Run(bool allow_tls);

  std::unique_ptr<ClientSession> session;
  DestinationKey key;
  logs::Peer peer;
  Trouble trouble;
  // Of the TLS policy: decided by the handshake, or by doing without.
  logs::TlsFeature tls_feature;
  bool reached_server = false;    // A session was begun (smtp_mx_session_limit).
  bool handshake_failed = false;  // Under `may`, where plain text is the next try.
  bool policy_broken = false;     // Another address would not help.

 private:
  Task<bool> Dial();
  Task<bool> Greet();
  Task<bool> SayHello(bool need_esmtp);
  Task<bool> Secure(bool allow_tls);
  Task<bool> LogIn();
  void Fail(const Failure& failure) {
    trouble = ExplainFailure(failure, peer);
    Drop();
  }
  void Fail(EnhancedStatus status, std::string text) {
    trouble = {status, std::move(text)};
    Drop();
  }
  void Drop() {
    *running_ = nullptr;
    session.reset();
  }

  ShardContext* const context_;
  const std::shared_ptr<const Settings> settings_;
  const Nexthop nexthop_;
  const std::string host_;
  const SocketAddress address_;
  ClientSession** const running_;
  ServerTls tls_;
  std::optional<transport::sasl::Credentials> credentials_;
};

Task<void> SessionTry::Run(bool allow_tls) {
  peer = {host_, address_.ip.ToString(), address_.port};
  DestinationPolicy::Tls policy = settings_->policy->TlsFor(nexthop_.text, host_);
  for (const std::string& warning : policy.warnings) context_->logger->Warning("smtp", warning);
  if (policy.trouble) {
    policy_broken = true;
    Fail(policy.trouble->status, policy.trouble->text);
    co_return;
  }
  tls_ = std::move(policy.tls);
  tls_feature = {tls_.level > TlsLevel::kNone ? config::TlsLevelName(tls_.level) : "",
                 logs::TlsFeature::Verdict::kUndecided};
  DestinationPolicy::Sasl sasl = settings_->policy->CredentialsFor(nexthop_.text, host_);
  if (sasl.trouble) {
    policy_broken = true;
    Fail(sasl.trouble->status, sasl.trouble->text);
    co_return;
  }
  credentials_ = std::move(sasl.credentials);
  key = {nexthop_.text,
         host_,
         address_,
         static_cast<int>(tls_.level),
         tls_.rules,
         credentials_ ? credentials_->user : std::string(),
         settings_->generation};

  const bool dialled = co_await Dial();
  if (!dialled) co_return;
  reached_server = true;
  const bool greeted = co_await Greet();
  if (!greeted) co_return;
  const bool secure = co_await Secure(allow_tls);
  if (!secure) co_return;
  co_await LogIn();
}

Task<bool> SessionTry::Dial() {
  const Settings& settings = *settings_;
  const std::optional<IpAddress> local =
      address_.ip.v6 ? settings.bind_address6 : settings.bind_address;
  const MonoTime deadline = context_->loop->now() + settings.connect_timeout;
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection =
      co_await context_->network->Connect(address_, local, deadline);
  if (connection.ok() && context_->cancelled) {
    Fail({4, 3, 2}, "cancelled");
    co_return false;
  }
  if (!connection.ok()) {
    const std::string reason = absl::IsDeadlineExceeded(connection.status())
                                   ? "Connection timed out"
                                   : std::string(connection.status().message());
    Fail({4, 4, 1}, logs::ConnectText(peer, reason));
    co_return false;
  }
  ClientSessionOptions options;
  options.helo_name = settings.helo_name;
  options.timeouts = settings.timeouts;
  options.discard_ehlo_keywords = settings.discard_ehlo_keywords;
  session = std::make_unique<ClientSession>(
      context_->loop, std::make_unique<transport::Stream>(*std::move(connection)), options);
  *running_ = session.get();
  co_return true;
}

Task<bool> SessionTry::Greet() {
  if (tls_.wrapper_mode) {
    const std::optional<std::string> refused =
        co_await WrapSessionTls(context_, settings_, session.get(), tls_, key, peer);
    if (refused) {
      tls_feature.verdict = logs::TlsFeature::Verdict::kViolated;
      Fail({4, 7, 5}, *refused);
      co_return false;
    }
    tls_feature.verdict = logs::TlsFeature::Verdict::kReached;
  }
  const std::optional<Failure> failure = co_await session->ReadGreeting();
  if (failure) {
    Fail(*failure);
    co_return false;
  }
  const bool need_esmtp = tls_.level >= TlsLevel::kEncrypt || credentials_.has_value();
  const bool hello = co_await SayHello(need_esmtp);
  co_return hello;
}

Task<bool> SessionTry::SayHello(bool need_esmtp) {
  std::optional<Failure> failure = co_await session->Ehlo();
  if (failure && failure->kind == Failure::Kind::kReply && failure->reply->permanent() &&
      failure->reply->code != 521 && !need_esmtp) {
    failure = co_await session->Helo();
  }
  if (failure) {
    Fail(*failure);
    co_return false;
  }
  co_return true;
}

Task<bool> SessionTry::Secure(bool allow_tls) {
  using Verdict = logs::TlsFeature::Verdict;
  if (tls_.level == TlsLevel::kNone && session->capabilities().starttls &&
      settings_->note_starttls_offer) {
    context_->logger->Info("smtp", logs::StartTlsOfferedLine(host_));
  }
  if (tls_.wrapper_mode || tls_.level == TlsLevel::kNone) co_return true;
  const bool required = tls_.level >= TlsLevel::kEncrypt;
  tls_feature.verdict = required ? Verdict::kViolated : Verdict::kWithoutTls;
  if (!allow_tls) co_return true;
  if (!session->capabilities().starttls) {
    if (!required) co_return true;
    co_await session->Quit();
    Fail({4, 7, 4},
         fmt::format("TLS is required, but was not offered by host {}", logs::PeerName(peer)));
    co_return false;
  }
  StartTlsOutcome outcome =
      co_await StartTlsByCommand(context_, settings_, session.get(), tls_, key, peer);
  switch (outcome.state) {
    case StartTlsOutcome::State::kSecured:
      tls_feature.verdict = Verdict::kReached;
      break;
    case StartTlsOutcome::State::kRefusedUsable:
      // Plain text on the same connection is what `may` means.
      if (!required) co_return true;
      co_await session->Quit();
      [[fallthrough]];
    case StartTlsOutcome::State::kFailed:
      handshake_failed = outcome.handshake && !required;
      if (!required) tls_feature.verdict = Verdict::kUndecided;
      Fail(outcome.trouble.status, outcome.trouble.text);
      co_return false;
  }
  // What was said in clear is forgotten (RFC 3207 4.2).
  const bool hello = co_await SayHello(true);
  co_return hello;
}

Task<bool> SessionTry::LogIn() {
  const std::optional<Trouble> refused =
      co_await LogInToServer(context_, settings_, session.get(), tls_, credentials_, peer);
  if (refused) {
    Fail(refused->status, refused->text);
    co_return false;
  }
  co_return true;
}

// The addresses of all hosts, in order of preference, each with its host's name.
struct Target {
  std::string host;
  IpAddress ip;
};

// `settings` are the session's own: a reload meanwhile replaces the shard's.
Task<std::vector<Target>> FindTargets(ShardContext* context,
                                      std::shared_ptr<const Settings> settings,
                                      std::vector<std::string> hosts, SessionSetup* setup) {
  std::vector<Target> targets;
  for (const std::string& host : hosts) {
    if (targets.size() >= static_cast<size_t>(settings->mx_address_limit)) break;
    if (const absl::StatusOr<IpAddress> literal = IpAddress::Parse(host); literal.ok()) {
      targets.push_back({host, *literal});
      continue;
    }
    const MonoTime deadline = context->loop->now() + kLookupTimeout;
    const absl::StatusOr<transport::AddressAnswer> answer =
        co_await context->resolver->Addresses(host, settings->family, deadline);
    if (!answer.ok()) {
      setup->trouble = LookupTrouble(host, "A", answer.status());
      setup->permanent = absl::IsNotFound(answer.status());
      continue;
    }
    for (const IpAddress& ip : answer->addresses) {
      if (targets.size() >= static_cast<size_t>(settings->mx_address_limit)) break;
      targets.push_back({host, ip});
    }
  }
  co_return targets;
}

// Tries one nexthop: its hosts and their addresses in turn.
Task<void> TryNexthop(ShardContext* context, std::shared_ptr<const Settings> settings,
                      Nexthop nexthop, absl::Duration mail_age, ClientSession** running,
                      SessionSetup* setup) {
  Hosts hosts = co_await FindHosts(context, settings->use_mx, nexthop);
  if (hosts.trouble) {
    setup->trouble = *hosts.trouble;
    setup->permanent = hosts.permanent;
    co_return;
  }
  const std::vector<Target> targets =
      co_await FindTargets(context, settings, std::move(hosts.names), setup);
  if (targets.empty()) co_return;
  setup->permanent = false;
  int sessions = 0;
  for (const Target& target : targets) {
    if (context->cancelled) co_return;
    SessionTry attempt(context, settings, nexthop, target.host, target.ip, running);
    co_await attempt.Run(true);
    // Plain text instead, on a new connection: only where nothing but `may` was asked
    // for, no credentials exist, and the mail has waited (postfix-semantics 3.6).
    if (attempt.session == nullptr && attempt.handshake_failed && attempt.key.sasl_user.empty() &&
        mail_age >= settings->retry.minimal_backoff) {
      co_await attempt.Run(false);
    }
    setup->relay = attempt.peer;
    setup->key = attempt.key;
    setup->trouble = attempt.trouble;
    if (settings->log_tls_feature_status) {
      setup->tls_features = logs::TlsFeatureText(attempt.tls_feature);
    }
    if (attempt.session != nullptr) {
      setup->session = std::move(attempt.session);
      co_return;
    }
    if (attempt.policy_broken) {
      setup->relay.reset();
      co_return;
    }
    if (attempt.reached_server && ++sessions >= settings->mx_session_limit) co_return;
  }
}

}  // namespace

Task<SessionSetup> MakeSession(ShardContext* context, std::string nexthop_text,
                               absl::Duration mail_age, ClientSession** running) {
  SessionSetup setup;
  const std::shared_ptr<const Settings> settings = context->settings;
  const absl::StatusOr<std::vector<Nexthop>> nexthops =
      config::ParseNexthops(nexthop_text, settings->default_port);
  if (!nexthops.ok()) {
    setup.trouble = {{4, 3, 5}, std::string(nexthops.status().message())};
    co_return setup;
  }
  for (const Nexthop& nexthop : *nexthops) {
    co_await TryNexthop(context, settings, nexthop, mail_age, running, &setup);
    if (setup.session != nullptr) co_return setup;
  }
  // What looks like a mistake in our own configuration defers (Postfix's rule for
  // relayhost): nobody's mail is refused by it.
  if (setup.permanent && nexthop_text == settings->relayhost) {
    setup.permanent = false;
    setup.trouble.status = {4, 3, 5};
  }
  if (setup.permanent) setup.trouble.status.klass = 5;
  co_return setup;
}

}  // namespace mailrace::engine
