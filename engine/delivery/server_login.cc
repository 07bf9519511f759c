#include "engine/delivery/server_login.h"

#include <string>
#include <vector>

#include "base/text.h"
#include "engine/logs/log_lines.h"
#include "fmt/format.h"
#include "transport/sasl/client.h"

namespace mailrace::engine {

using transport::smtp::Capabilities;
using transport::smtp::ClientSession;
using transport::smtp::Failure;
namespace tls = transport::tls;

namespace {

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

LoginRefusal Refuse(std::string text) { return {Trouble{{4, 7, 0}, std::move(text)}}; }

// The mechanism to use; empty: why not is in *refusal.
std::string Choose(const DestinationPolicy& rules, const std::vector<std::string>& usable,
                   tls::Engine* engine, const ServerTls& policy, const logs::Peer& peer,
                   LoginRefusal* refusal) {
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
  std::string mechanism =
      transport::sasl::ChooseMechanism(usable, rules.SaslOptions(security), binding);
  if (mechanism.empty()) {
    *refusal = Refuse(
        fmt::format("SASL authentication failed; cannot authenticate to server {}: no mechanism "
                    "available",
                    logs::PeerName(peer)));
  }
  return mechanism;
}

// The credential rests on all shards; the operator is told once.
void NoteRefused(ShardContext* context, const Settings& settings, const CredentialPauses::Key& key,
                 const transport::smtp::Reply& reply, const logs::Peer& peer) {
  if (reply.code != 535) return;
  const std::string said = logs::OneLine(reply.ToString());
  if (!context->credential_pauses->Refused(key, settings.generation, said, context->loop->now(),
                                           settings.sasl_failure_pause)) {
    return;
  }
  context->logger->Log(
      Severity::kError, "smtp",
      fmt::format("SASL authentication to {} as {} was refused ({}); mail waits, next try in {}s "
                  "or after a reload",
                  logs::PeerName(peer), Printable(key.user), said,
                  absl::ToInt64Seconds(settings.sasl_failure_pause)));
}

}  // namespace

Task<std::optional<LoginRefusal>> LogInToServer(
    ShardContext* context, std::shared_ptr<const Settings> settings, ClientSession* session,
    ServerTls policy, std::optional<transport::sasl::Credentials> credentials, logs::Peer peer) {
  const DestinationPolicy& rules = *settings->policy;
  const Capabilities& server = session->capabilities();
  // Without an announcement there is no login, and mail goes on (3.8, first row).
  if (!rules.sasl_enabled() || !server.auth_offered) co_return std::nullopt;
  const std::vector<std::string> usable = rules.FilterMechanisms(server.auth_mechanisms);
  if (!credentials) {
    if (usable.empty()) {
      const std::string offered = Joined(server.auth_mechanisms);
      context->logger->Warning(
          "smtp", offered.empty()
                      ? fmt::format("{} offered null AUTH mechanism list", logs::PeerNamePort(peer))
                      : fmt::format("{} offered no supported AUTH mechanisms: '{}'",
                                    logs::PeerNamePort(peer), offered));
    }
    co_return std::nullopt;
  }
  LoginRefusal refusal;
  const std::string mechanism =
      Choose(rules, usable, session->stream().tls(), policy, peer, &refusal);
  if (mechanism.empty()) co_return refusal;
  const CredentialPauses::Key pause_key{peer.host, credentials->user};
  const MonoTime now = context->loop->now();
  if (const auto said = context->credential_pauses->Paused(pause_key, settings->generation, now)) {
    refusal = Refuse(fmt::format("SASL [CACHED] authentication failed; server {} said: {}",
                                 logs::PeerName(peer), *said));
    refusal.permanent = !settings->sasl_soft_bounce;
    co_return refusal;
  }
  const std::optional<Failure> failure =
      co_await session->Authenticate(mechanism, *credentials, peer.host);
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
  if (failure->kind == Failure::Kind::kReply) {
    NoteRefused(context, *settings, pause_key, *failure->reply, peer);
    refusal.permanent = failure->reply->permanent() && !settings->sasl_soft_bounce;
  }
  co_await session->Quit();
  co_return refusal;
}

}  // namespace mailrace::engine
