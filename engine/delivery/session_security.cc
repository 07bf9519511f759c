#include "engine/delivery/session_security.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "engine/logs/tls_lines.h"
#include "fmt/format.h"

namespace mailrace::engine {

using transport::smtp::ClientSession;
using transport::smtp::Failure;
namespace tls = transport::tls;

namespace {

bool Matches(const ServerTls& policy, const tls::Info& info) {
  if (policy.level != TlsLevel::kFingerprint) return info.verified();
  return std::any_of(policy.fingerprints.begin(), policy.fingerprints.end(),
                     [&](const std::string& wanted) {
                       return EqualsIgnoreCase(wanted, info.certificate_fingerprint) ||
                              EqualsIgnoreCase(wanted, info.public_key_fingerprint);
                     });
}

void LogHandshake(ShardContext* context, const Settings& settings, const ServerTls& policy,
                  const logs::Peer& peer, const tls::Info& info) {
  logs::TlsFacts facts;
  facts.peer = peer;
  facts.protocol = info.protocol;
  facts.cipher = info.cipher;
  facts.cipher_bits_used = info.cipher_bits_used;
  facts.cipher_bits = info.cipher_bits;
  facts.key_exchange = info.key_exchange;
  facts.server_signature = info.server_signature;
  facts.server_digest = info.server_digest;
  facts.session_resumed = info.resumed;
  facts.peer_certificate = info.peer_certificate;
  facts.chain_trusted =
      info.chain_trusted || (policy.level == TlsLevel::kFingerprint && Matches(policy, info));
  facts.name_matched = Matches(policy, info);
  facts.must_match = MustMatch(policy.level);
  facts.verify_problem = info.verify_problem;
  facts.subject_cn = info.subject_cn;
  facts.issuer_cn = info.issuer_cn;
  facts.certificate_fingerprint = info.certificate_fingerprint;
  facts.public_key_fingerprint = info.public_key_fingerprint;
  for (std::string& line : logs::TlsHandshakeLines(settings.tls_log, settings.log_style, facts)) {
    context->logger->Info("smtp", std::move(line));
  }
}

// What log lines call the cache entry of a key: as much of it as an operator can read.
std::string SessionCacheId(const DestinationKey& key) {
  return fmt::format("smtp&{}&{}&{}&{}", key.nexthop, key.host, key.address.ip.ToString(),
                     config::TlsLevelName(static_cast<TlsLevel>(key.tls_level)));
}

void LogTlsStart(ShardContext* context, const Settings& settings, const ServerTls& policy,
                 const DestinationKey& key, const logs::Peer& peer, bool resuming) {
  logs::TlsStart start;
  start.peer = peer;
  start.cipher_list = policy.context->cipher_list();
  if (settings.tls_session_timeout > absl::ZeroDuration()) {
    start.session_cache_id = SessionCacheId(key);
  }
  start.session_reloaded = resuming;
  start.engine_first_used = context->stats->tls_handshakes.value() == 0;
  for (std::string& line : logs::TlsStartLines(settings.tls_log, settings.log_style, start)) {
    context->logger->Info("smtp", std::move(line));
  }
}

absl::StatusOr<std::unique_ptr<tls::Engine>> MakeEngine(ShardContext* context,
                                                        const Settings& settings,
                                                        const ServerTls& policy,
                                                        const DestinationKey& key,
                                                        const logs::Peer& peer) {
  if (context->ready_for_tls != nullptr) {
    if (absl::Status ready = context->ready_for_tls(); !ready.ok()) return ready;
  }
  tls::ClientEngineOptions options;
  options.server_name = policy.server_name;
  options.match_names = policy.match_names;
  options.match_ip = policy.match_ip;
  options.match_subject_cn = policy.match_subject_cn;
  options.resume = context->tls_sessions->Take(key, context->loop->now());
  LogTlsStart(context, settings, policy, key, peer, options.resume != nullptr);
  return tls::Engine::Client(policy.context, options);
}

// After the handshake: counts, logs, and whether the certificate is what was demanded.
bool JudgeHandshake(ShardContext* context, const Settings& settings, ClientSession* session,
                    const ServerTls& policy, const DestinationKey& key, const logs::Peer& peer) {
  const tls::Info& info = session->stream().tls()->info();
  context->stats->tls_handshakes.Add();
  if (info.resumed) context->stats->tls_resumed.Add();
  LogHandshake(context, settings, policy, peer, info);
  SaveTlsSessions(context, settings, session, key);
  return !MustMatch(policy.level) || Matches(policy, info);
}

Trouble NotVerified() { return {{4, 7, 5}, "Server certificate not verified"}; }

Trouble HandshakeFailed(ShardContext* context, const Failure& failure, const logs::Peer& peer) {
  context->logger->Info("smtp", logs::TlsFailureLine(logs::TlsRole::kClient, peer, failure.text));
  return {{4, 7, 5}, "Cannot start TLS: handshake failure"};
}

}  // namespace

void SaveTlsSessions(ShardContext* context, const Settings& settings, ClientSession* session,
                     const DestinationKey& key) {
  tls::Engine* engine = session->stream().tls();
  if (engine == nullptr || settings.tls_session_timeout <= absl::ZeroDuration()) return;
  const MonoTime now = context->loop->now();
  // A resumed session must not outlive the certificate that vouched for it (T-09).
  const absl::Duration valid =
      std::min(settings.tls_session_timeout, engine->info().not_after - context->loop->wall());
  if (valid <= absl::ZeroDuration()) return;
  while (tls::SessionPtr ticket = engine->TakeSession()) {
    context->tls_sessions->Put(key, std::move(ticket), now + valid);
    if (std::optional<std::string> line =
            logs::TlsSessionSavedLine(settings.tls_log, settings.log_style, SessionCacheId(key))) {
      context->logger->Info("smtp", *std::move(line));
    }
  }
}

Task<StartTlsOutcome> StartTlsByCommand(ShardContext* context,
                                        std::shared_ptr<const Settings> settings,
                                        ClientSession* session, ServerTls policy,
                                        DestinationKey key, logs::Peer peer) {
  StartTlsOutcome outcome;
  absl::StatusOr<std::unique_ptr<tls::Engine>> engine =
      MakeEngine(context, *settings, policy, key, peer);
  if (!engine.ok()) {
    context->logger->Warning("smtp", fmt::format("cannot start TLS with {}: {}",
                                                 logs::PeerName(peer), engine.status().ToString()));
    outcome.trouble = {{4, 7, 5}, "TLS is required, but our TLS engine is unavailable"};
    co_return outcome;
  }
  const std::optional<Failure> failure = co_await session->StartTls(*std::move(engine));
  if (!failure) {
    if (JudgeHandshake(context, *settings, session, policy, key, peer)) {
      outcome.state = StartTlsOutcome::State::kSecured;
    } else {
      co_await session->Quit();
      outcome.trouble = NotVerified();
    }
    co_return outcome;
  }
  if (failure->kind == Failure::Kind::kReply) {
    // Whatever its code: a refusal of TLS is no refusal of mail. (Postfix bounces on a
    // 5xx here; deferring is a documented deviation.)
    EnhancedStatus status = failure->reply->enhanced();
    if (status.klass != 4) status = {4, 7, 4};
    outcome.trouble = {
        status, fmt::format("TLS is required, but host {} refused to start TLS: {}",
                            logs::PeerName(peer), logs::OneLine(failure->reply->ToString()))};
    outcome.state = failure->reply->code == 421 ? StartTlsOutcome::State::kFailed
                                                : StartTlsOutcome::State::kRefusedUsable;
    co_return outcome;
  }
  outcome.handshake = failure->kind == Failure::Kind::kTls ||
                      (failure->step == transport::smtp::Step::kTlsHandshake &&
                       failure->kind != Failure::Kind::kLocal);
  // However it failed; the log has the reason.
  outcome.trouble =
      outcome.handshake ? HandshakeFailed(context, *failure, peer) : ExplainFailure(*failure, peer);
  co_return outcome;
}

Task<std::optional<std::string>> WrapSessionTls(ShardContext* context,
                                                std::shared_ptr<const Settings> settings,
                                                ClientSession* session, ServerTls policy,
                                                DestinationKey key, logs::Peer peer) {
  absl::StatusOr<std::unique_ptr<tls::Engine>> engine =
      MakeEngine(context, *settings, policy, key, peer);
  if (!engine.ok()) co_return "TLS is required, but our TLS engine is unavailable";
  const std::optional<Failure> failure = co_await session->WrapTls(*std::move(engine));
  if (failure) co_return HandshakeFailed(context, *failure, peer).text;
  if (!JudgeHandshake(context, *settings, session, policy, key, peer)) co_return NotVerified().text;
  co_return std::nullopt;
}

}  // namespace mailrace::engine
