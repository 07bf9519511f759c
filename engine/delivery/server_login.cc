#include "engine/delivery/server_login.h"

#include <functional>
#include <string>
#include <vector>

#include "base/sync.h"
#include "base/text.h"
#include "engine/logs/log_lines.h"
#include "engine/shard_helper.h"
#include "fmt/format.h"
#include "transport/sasl/client.h"

namespace mailrace::engine {

using transport::smtp::Capabilities;
using transport::smtp::ClientSession;
using transport::smtp::Failure;
namespace tls = transport::tls;

namespace {

// How often who waits for another's try looks what came of it.
constexpr absl::Duration kTurn = absl::Milliseconds(20);

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

LoginRefusal Refuse(std::string text) { return {Trouble{{4, 7, 0}, std::move(text)}}; }

// The mechanism to use; empty: why not is in *refusal. EXTERNAL goes first for who has no
// password, and last for who has one: then it is what smtp_sasl_mechanism_filter left.
std::string Choose(const DestinationPolicy& rules, const std::vector<std::string>& usable,
                   tls::Engine* engine, const ServerTls& policy,
                   const transport::sasl::Credentials& credentials, const logs::Peer& peer,
                   LoginRefusal* refusal) {
  const bool bearer = credentials.bearer;
  if (usable.empty()) {
    *refusal =
        Refuse(fmt::format("SASL authentication failed: server {} offered no compatible "
                           "authentication mechanisms for this type of connection security",
                           logs::PeerName(peer)));
    return "";
  }
  DestinationPolicy::Security security = DestinationPolicy::Security::kClear;
  if (engine != nullptr) {
    // "Verified" only where a match was demanded; see postfix-semantics 3.8.
    security = MustMatch(policy.level) ? DestinationPolicy::Security::kVerifiedTls
                                       : DestinationPolicy::Security::kTls;
  }
  const bool binding = engine != nullptr && !engine->ChannelBinding().empty();
  const bool external = engine != nullptr && !bearer && policy.context->has_certificate() &&
                        transport::sasl::OffersExternal(usable, rules.SaslOptions(security));
  if (external && credentials.password.empty()) return std::string(transport::sasl::kExternal);
  std::string mechanism;
  // Whoever reads a token has it: never in clear (RFC 6750 5.3), whatever the options are.
  if (!bearer || engine != nullptr) {
    mechanism =
        transport::sasl::ChooseMechanism(usable, rules.SaslOptions(security), binding, bearer);
  }
  if (mechanism.empty() && external) return std::string(transport::sasl::kExternal);
  if (mechanism.empty()) {
    *refusal = Refuse(
        fmt::format("SASL authentication failed; cannot authenticate to server {}: no mechanism "
                    "available",
                    logs::PeerName(peer)));
  }
  return mechanism;
}

CredentialPauses::Key PauseKey(const Login& login, const logs::Peer& peer) {
  const std::string& password = login.credentials->password;
  return {peer.host, login.credentials->user, login.token ? 0 : std::hash<std::string>()(password)};
}

// The credential rests on all shards; the operator is told once.
void NoteRefused(ShardContext* context, const Settings& settings, const CredentialPauses::Key& key,
                 const transport::smtp::Reply& reply, const logs::Peer& peer) {
  if (reply.code != 535) return;
  const std::string said = logs::OneLine(reply.ToString());
  const bool cached = settings.sasl_cache_time.has_value();
  const absl::Duration pause = settings.sasl_cache_time.value_or(settings.sasl_failure_pause);
  if (!context->credential_pauses->Refused(key, settings.generation, said, context->loop->now(),
                                           pause, cached)) {
    return;
  }
  context->logger->Log(
      Severity::kError, "smtp",
      fmt::format("SASL authentication to {} as {} was refused ({}); mail waits, next try in {}s "
                  "or {}",
                  logs::PeerName(peer), Printable(key.user), said, absl::ToInt64Seconds(pause),
                  cached ? "with another password" : "after a reload"));
}

// What there is to say where AUTH cannot be tried. Nothing: mail goes on without a login.
std::optional<LoginRefusal> WithoutAuth(ShardContext* context, const Settings& settings,
                                        const Login& login, const Capabilities& server,
                                        const logs::Peer& peer) {
  if (!server.auth_offered) {
    // 3.8, first row; a deferral is our own word for it.
    if (!login.credentials || !settings.sasl_require_auth) return std::nullopt;
    return Refuse(
        fmt::format("SASL authentication failed: server {} announced no AUTH, and "
                    "sasl_require_auth = yes",
                    logs::PeerName(peer)));
  }
  const std::string offered = Joined(server.auth_mechanisms);
  context->logger->Warning(
      "smtp", offered.empty()
                  ? fmt::format("{} offered null AUTH mechanism list", logs::PeerNamePort(peer))
                  : fmt::format("{} offered no supported AUTH mechanisms: '{}'",
                                logs::PeerNamePort(peer), offered));
  return std::nullopt;
}

// Until it is our turn to try; or what the server said to who tried before.
Task<std::optional<std::string>> AwaitTurn(ShardContext* context, CredentialPauses::Key key,
                                           uint64_t generation) {
  while (true) {
    const MonoTime now = context->loop->now();
    std::optional<std::string> said = context->credential_pauses->Paused(key, generation, now);
    // Once we stop, whoever waits goes on to where it is cut off.
    if (said || context->cancelled || context->credential_pauses->Begin(key, now)) co_return said;
    co_await SleepUntil(context->loop, now + kTurn);
  }
}

// The token that is valid now, or why there is none. `refused` is one that was not wanted.
Task<std::optional<LoginRefusal>> FillToken(ShardContext* context, Login* login,
                                            std::string refused, logs::Peer peer) {
  if (context->tokens == nullptr) {
    co_return Refuse("SASL authentication failed; there is nothing to fetch tokens with");
  }
  absl::StatusOr<std::string> token =
      co_await context->tokens->Get(*login->token, std::move(refused));
  if (!token.ok()) {
    co_return Refuse(fmt::format(
        "SASL authentication failed; cannot authenticate to server {}: no token for {}: {}",
        logs::PeerName(peer), Printable(login->credentials->user, 100),
        Printable(std::string(token.status().message()), 200)));
  }
  login->credentials->password = *std::move(token);
  co_return std::nullopt;
}

// Authenticates; with a token that is refused once more, if there is a newer one.
Task<std::optional<Failure>> Authenticate(ShardContext* context, ClientSession* session,
                                          std::string mechanism, Login* login, logs::Peer peer) {
  std::optional<Failure> failure =
      co_await session->Authenticate(mechanism, *login->credentials, peer.host);
  const bool refused =
      failure && failure->kind == Failure::Kind::kReply && failure->reply->code != 421;
  if (!refused || !login->token) co_return failure;
  const std::string old = login->credentials->password;
  const std::optional<LoginRefusal> none = co_await FillToken(context, login, old, peer);
  if (none || login->credentials->password == old) co_return failure;
  failure = co_await session->Authenticate(mechanism, *login->credentials, peer.host);
  co_return failure;
}

}  // namespace

Task<std::optional<LoginRefusal>> LogInToServer(ShardContext* context,
                                                std::shared_ptr<const Settings> settings,
                                                ClientSession* session, ServerTls policy,
                                                Login login, logs::Peer peer) {
  const DestinationPolicy& rules = *settings->policy;
  if (!rules.sasl_enabled()) co_return std::nullopt;
  const Capabilities& server = session->capabilities();
  const std::vector<std::string> usable = rules.FilterMechanisms(server.auth_mechanisms);
  if (!server.auth_offered || (usable.empty() && !login.credentials)) {
    co_return WithoutAuth(context, *settings, login, server, peer);
  }
  if (!login.credentials) co_return std::nullopt;
  LoginRefusal refusal;
  const std::string mechanism =
      Choose(rules, usable, session->stream().tls(), policy, *login.credentials, peer, &refusal);
  if (mechanism.empty()) co_return refusal;
  const CredentialPauses::Key pause_key = PauseKey(login, peer);
  const std::optional<std::string> said =
      co_await AwaitTurn(context, pause_key, settings->generation);
  if (said) {
    refusal = Refuse(fmt::format("SASL [CACHED] authentication failed; server {} said: {}",
                                 logs::PeerName(peer), *said));
    refusal.permanent = !settings->sasl_soft_bounce;
    co_return refusal;
  }
  if (login.token) {
    const std::optional<LoginRefusal> none = co_await FillToken(context, &login, "", peer);
    if (none) {
      context->credential_pauses->Undecided(pause_key);
      co_return none;
    }
  }
  const std::optional<Failure> failure =
      co_await Authenticate(context, session, mechanism, &login, peer);
  if (!failure) {
    context->stats->auth_successes.Add();
    if (context->credential_pauses->Accepted(pause_key)) {
      context->logger->Info("smtp", fmt::format("SASL authentication to {} as {} works again",
                                                logs::PeerName(peer), Printable(pause_key.user)));
    }
    co_return std::nullopt;
  }
  context->stats->auth_failures.Add();
  refusal = {ExplainFailure(*failure, peer)};
  context->credential_pauses->Undecided(pause_key);
  if (failure->kind == Failure::Kind::kReply) {
    NoteRefused(context, *settings, pause_key, *failure->reply, peer);
    refusal.permanent = failure->reply->permanent() && !settings->sasl_soft_bounce;
  }
  co_await session->Quit();
  co_return refusal;
}

}  // namespace mailrace::engine
