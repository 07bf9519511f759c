#include "engine/delivery/session_maker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/config/relayhost.h"
#include "engine/delivery/dead_addresses.h"
#include "engine/delivery/server_login.h"
#include "engine/delivery/session_hello.h"
#include "engine/delivery/session_security.h"
#include "engine/delivery/target_finder.h"
#include "engine/logs/log_lines.h"
#include "engine/routing/hop_name.h"
#include "fmt/format.h"

namespace mailrace::engine {

using config::Nexthop;
using transport::smtp::ClientSession;
using transport::smtp::ClientSessionOptions;
using transport::smtp::Failure;
using transport::smtp::Step;

namespace {

// One try at one address. Gives up what it holds when it fails.
class SessionTry {
 public:
  SessionTry(ShardContext* context, std::shared_ptr<const Settings> settings, Nexthop nexthop,
             std::string sender_key, const Target& target, ClientSession** running)
      : context_(context),
        settings_(std::move(settings)),
        nexthop_(std::move(nexthop)),
        sender_key_(std::move(sender_key)),
        host_(target.host),
        address_{target.ip, nexthop_.port},
        running_(running) {}

  // `allow_tls` false: the plain-text retry after a failed handshake.
  Task<void> Run(bool allow_tls);

  bool has_credentials() const { return credentials_.has_value(); }

  std::unique_ptr<ClientSession> session;
  DestinationKey key;
  logs::Peer peer;
  Trouble trouble;
  SessionCosts costs;
  // Of the TLS policy: decided by the handshake, or by doing without.
  logs::TlsFeature tls_feature;
  bool handshake_failed = false;  // Under `may`, where plain text is the next try.
  bool policy_broken = false;     // Another address would not help.
  bool permanent = false;         // The mail fails, if this was the last address.
  bool final = false;             // It was: this server's word is the destination's.

 private:
  Task<bool> Dial();
  Task<bool> Greet();
  Task<bool> Greeted(bool encrypted);
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
  void NotOffered() {
    Fail({4, 7, 4},
         fmt::format("TLS is required, but was not offered by host {}", logs::PeerName(peer)));
  }
  // Nobody at home, or nobody who talks: others of the destination go first for a while.
  void NoteDead() {
    if (!context_->cancelled) context_->dead_addresses->Failed(address_, context_->loop->now());
  }
  void Drop() {
    *running_ = nullptr;
    session.reset();
  }

  ShardContext* const context_;
  const std::shared_ptr<const Settings> settings_;
  const Nexthop nexthop_;
  const std::string sender_key_;
  const std::string host_;
  const SocketAddress address_;
  ClientSession** const running_;
  ServerTls tls_;
  std::optional<transport::sasl::Credentials> credentials_;
  std::optional<tokens::TokenSpec> token_;
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
  DestinationPolicy::Sasl sasl =
      settings_->policy->CredentialsFor({sender_key_, host_, nexthop_.text});
  if (sasl.trouble) {
    policy_broken = true;
    Fail(sasl.trouble->status, sasl.trouble->text);
    co_return;
  }
  credentials_ = std::move(sasl.credentials);
  token_ = std::move(sasl.token);
  // Who has an own login has an own key, whatever the user is called.
  HopName hop;
  hop.nexthops = nexthop_.text;
  hop.sender_key = sender_key_;
  key = KeyOf(hop.ToString(), host_, address_, tls_, credentials_, settings_->generation);

  const bool dialled = co_await Dial();
  if (!dialled) co_return;
  const bool greeted = co_await Greet();
  if (!greeted) co_return;
  const MonoTime before_tls = context_->loop->now();
  const bool secure = co_await Secure(allow_tls);
  const MonoTime before_login = context_->loop->now();
  costs.tls += before_login - before_tls;
  if (!secure) co_return;
  co_await LogIn();
  costs.auth += context_->loop->now() - before_login;
}

Task<bool> SessionTry::Dial() {
  const Settings& settings = *settings_;
  std::optional<IpAddress> local = address_.ip.v6 ? settings.bind_address6 : settings.bind_address;
  const MonoTime now = context_->loop->now();
  const MonoTime deadline = now + settings.connect_timeout;
  context_->dead_addresses->Trying(address_, now, settings.connect_timeout);
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection =
      co_await context_->network->Connect(address_, local, deadline);
  if (local && absl::IsFailedPrecondition(connection.status()) && !settings.bind_address_enforce) {
    context_->logger->Warning("smtp", std::string(connection.status().message()));
    local.reset();
    connection = co_await context_->network->Connect(address_, local, deadline);
  }
  if (connection.ok() && context_->cancelled) {
    Fail({4, 3, 2}, "cancelled");
    co_return false;
  }
  if (!connection.ok()) {
    const std::string reason = absl::IsDeadlineExceeded(connection.status())
                                   ? "Connection timed out"
                                   : std::string(connection.status().message());
    Fail({4, 4, 1}, logs::ConnectText(peer, reason));
    NoteDead();
    co_return false;
  }
  ClientSessionOptions options;
  options.helo_name = settings.helo_name;
  options.timeouts = settings.timeouts;
  options.discard_ehlo_keywords = settings.discard_ehlo_keywords;
  options.await_quit_reply = settings.await_quit_reply;
  options.tolerance = context_->tolerances->Of(key, settings.tolerance);
  options.helper = context_->helper;
  options.salted_passwords = context_->salted_passwords;
  session = std::make_unique<ClientSession>(
      context_->loop, std::make_unique<transport::Stream>(*std::move(connection)), options);
  *running_ = session.get();
  co_return true;
}

Task<bool> SessionTry::Greet() {
  if (tls_.wrapper_mode) {
    const MonoTime before = context_->loop->now();
    const std::optional<std::string> refused =
        co_await WrapSessionTls(context_, settings_, session.get(), tls_, key, peer);
    costs.tls += context_->loop->now() - before;
    if (refused) {
      tls_feature.verdict = logs::TlsFeature::Verdict::kViolated;
      Fail({4, 7, 5}, *refused);
      co_return false;
    }
    tls_feature.verdict = logs::TlsFeature::Verdict::kReached;
  }
  const std::optional<Failure> failure = co_await session->ReadGreeting();
  if (failure) {
    // Who does not want to be asked elsewhere has it taken at its word (smtp_skip_5xx_greeting).
    permanent = final = !settings_->skip_5xx_greeting && !settings_->soft_bounce &&
                        failure->kind == Failure::Kind::kReply && failure->reply->permanent();
    Fail(*failure);
    NoteDead();
    co_return false;
  }
  context_->dead_addresses->Answered(address_);
  const bool hello = co_await Greeted(/*encrypted=*/false);
  co_return hello;
}

Task<bool> SessionTry::Greeted(bool encrypted) {
  HelloNeeds needs;
  needs.encrypted = encrypted;
  needs.starttls = tls_.level >= TlsLevel::kEncrypt && !tls_.wrapper_mode;
  needs.login = credentials_.has_value();
  const Hello hello = co_await SayHello(settings_.get(), session.get(), needs);
  if (hello.starttls_unknown) {
    co_await session->Quit();
    NotOffered();
    co_return false;
  }
  if (hello.failure) {
    Fail(*hello.failure);
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
    NotOffered();
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
  const bool hello = co_await Greeted(/*encrypted=*/true);
  co_return hello;
}

Task<bool> SessionTry::LogIn() {
  const std::optional<LoginRefusal> refused = co_await LogInToServer(
      context_, settings_, session.get(), tls_, {credentials_, token_}, peer);
  if (refused) {
    Fail(refused->trouble.status, refused->trouble.text);
    permanent = refused->permanent;
    co_return false;
  }
  co_return true;
}

// Tries one nexthop: its hosts and their addresses in turn. `sender_key` as in HopName.
// True if no fallback relay is for this mail: we are its exchanger ourselves, or it was refused.
Task<bool> TryNexthop(ShardContext* context, std::shared_ptr<const Settings> settings,
                      Nexthop nexthop, std::string sender_key, absl::Duration mail_age,
                      ClientSession** running, SessionSetup* setup) {
  const FoundTargets found = co_await FindTargets(context, settings, nexthop);
  setup->relay.reset();  // What is told is of the last one that was tried.
  setup->permanent = found.permanent;
  if (found.trouble) setup->trouble = *found.trouble;
  for (const Target& target : found.targets) {
    if (context->cancelled) co_return found.self;
    SessionTry attempt(context, settings, nexthop, sender_key, target, running);
    co_await attempt.Run(true);
    // Plain text instead, on a new connection: only where nothing but `may` was asked
    // for, no credentials exist, and the mail has waited (postfix-semantics 3.6).
    if (attempt.session == nullptr && attempt.handshake_failed && !attempt.has_credentials() &&
        mail_age >= settings->retry.minimal_backoff) {
      co_await attempt.Run(false);
    }
    setup->relay = attempt.peer;
    setup->key = attempt.key;
    setup->trouble = attempt.trouble;
    setup->costs.tls += attempt.costs.tls;
    setup->costs.auth += attempt.costs.auth;
    setup->permanent = attempt.permanent;
    if (settings->log_tls_feature_status) {
      setup->tls_features = logs::TlsFeatureText(attempt.tls_feature);
    }
    if (attempt.session != nullptr) {
      setup->session = std::move(attempt.session);
      co_return found.self;
    }
    if (attempt.final) co_return true;
    if (attempt.policy_broken) {
      setup->relay.reset();
      co_return found.self;
    }
  }
  co_return found.self;
}

// What looks like a mistake in our own configuration defers (Postfix's rule for relayhost
// and fallback relays): nobody's mail is refused by it.
void ForgiveConfiguration(const Settings& settings, std::string_view hop, bool fallback,
                          SessionSetup* setup) {
  if (!setup->permanent || setup->relay) return;
  if (!fallback && hop != settings.relayhost) return;
  setup->permanent = false;
  setup->trouble.status = {4, 3, 5};
}

}  // namespace

Task<SessionSetup> MakeSession(ShardContext* context, std::string hop_name, absl::Duration mail_age,
                               ClientSession** running) {
  SessionSetup setup;
  const std::shared_ptr<const Settings> settings = context->settings;
  const HopName hop = HopName::Parse(hop_name);
  absl::StatusOr<std::vector<Nexthop>> nexthops =
      config::ParseNexthops(hop.nexthops, settings->default_port);
  if (!nexthops.ok()) {
    setup.trouble = {{4, 3, 5}, std::string(nexthops.status().message())};
    co_return setup;
  }
  const size_t own = nexthops->size();
  nexthops->insert(nexthops->end(), settings->fallback_relays.begin(),
                   settings->fallback_relays.end());
  bool fallback = false;
  for (size_t i = 0; i < nexthops->size() && !context->cancelled; ++i) {
    fallback = i >= own;
    const bool last = co_await TryNexthop(context, settings, (*nexthops)[i], hop.sender_key,
                                          mail_age, running, &setup);
    if (setup.session != nullptr) co_return setup;
    if (last) break;
  }
  ForgiveConfiguration(*settings, hop.nexthops, fallback, &setup);
  if (setup.permanent) setup.trouble.status.klass = 5;
  co_return setup;
}

}  // namespace mailrace::engine
