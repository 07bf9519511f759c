#include "engine/logs/tls_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mailrace::logs {
namespace {

constexpr int kDumpWidth = 16;

bool SetLevel(std::string_view word, TlsLog* log) {
  int level = -1;
  if (word == "none") level = 0;
  if (word == "routine") level = 1;
  if (word == "debug") level = 2;
  if (word == "ssl-expert") level = 3;
  if (word == "ssl-developer") level = 4;
  if (word.size() == 1 && word[0] >= '0' && word[0] <= '9') level = word[0] - '0';
  if (level < 0) return false;
  log->summary |= level >= 1;
  log->verbose |= level >= 2;
  log->cache |= level >= 2;
  log->ssl_debug |= level >= 2;
  log->handshake_dump |= level >= 3;
  log->reduced |= level >= 4;
  log->level = std::max(log->level, std::min(level, 3));
  return true;
}

bool SetFeature(std::string_view word, TlsLog* log) {
  if (word == "summary") {
    log->summary = true;
  } else if (word == "untrusted") {
    log->untrusted = true;
  } else if (word == "peercert") {
    log->peer_certificate = true;
  } else if (word == "certmatch") {
    log->match = true;
  } else if (word == "verbose") {
    log->verbose = true;
  } else if (word == "cache") {
    log->cache = true;
  } else if (word == "dane") {
    log->dane = true;
  } else if (word == "ssl-debug") {
    log->ssl_debug = true;
  } else if (word == "ssl-handshake-packet-dump") {
    log->handshake_dump = true;
  } else if (word == "ssl-session-packet-dump") {
    log->handshake_dump = true;
    log->reduced = true;
  } else if (word == "trace") {
    log->reduced = true;
  } else {
    return false;
  }
  if (log->summary) log->level = std::max(log->level, 1);
  if (log->verbose || log->ssl_debug) log->level = std::max(log->level, 2);
  if (log->cache || log->handshake_dump) log->level = std::max(log->level, 3);
  return true;
}

// tls_verify.c words a few problems with the certificate's purpose in front.
std::string VerifyProblemLine(const TlsFacts& facts) {
  const std::string& problem = facts.verify_problem;
  const bool with_purpose = problem.starts_with("certificate has expired") ||
                            problem.starts_with("certificate not yet valid") ||
                            problem.starts_with("num=");
  const std::string_view purpose = !with_purpose                    ? ""
                                   : facts.role == TlsRole::kClient ? "server "
                                                                    : "client ";
  return fmt::format("{}certificate verification failed for {}: {}", purpose,
                     PeerNamePort(facts.peer), OneLine(problem));
}

void AppendDetail(std::string* line, std::string_view label, std::string_view value) {
  if (!value.empty()) fmt::format_to(std::back_inserter(*line), " {} {}", label, OneLine(value));
}

std::string SubjectLine(const TlsFacts& facts) {
  std::string line = fmt::format("{}: subject_CN={}, issuer={}", PeerNamePort(facts.peer),
                                 OneLine(facts.subject_cn), OneLine(facts.issuer_cn));
  if (!facts.certificate_fingerprint.empty()) {
    line += ", cert fingerprint=" + facts.certificate_fingerprint;
  }
  if (!facts.public_key_fingerprint.empty()) {
    line += ", pkey fingerprint=" + facts.public_key_fingerprint;
  }
  return line;
}

// tls_client.c of Postfix 2.2: numbers only, the host without its address.
std::vector<std::string> HandshakeLines22(const TlsLog& log, const TlsFacts& facts) {
  std::vector<std::string> lines;
  if (log.level >= 3 && facts.session_resumed) lines.emplace_back("Reusing old session");
  if (log.level < 1) return lines;
  if (facts.peer_certificate) {
    lines.push_back(fmt::format("{}: subject_CN={}, issuer={}",
                                facts.chain_trusted && (facts.name_matched || !facts.must_match)
                                    ? "Verified"
                                    : "Unverified",
                                OneLine(facts.subject_cn), OneLine(facts.issuer_cn)));
  }
  lines.push_back(
      fmt::format("TLS connection established {} {}: {} with cipher {} ({}/{} bits)",
                  facts.role == TlsRole::kClient ? "to" : "from",
                  facts.role == TlsRole::kClient ? OneLine(facts.peer.host) : PeerName(facts.peer),
                  facts.protocol, facts.cipher, facts.cipher_bits_used, facts.cipher_bits));
  return lines;
}

}  // namespace

absl::StatusOr<TlsLog> ParseTlsLog(std::string_view value) {
  TlsLog log;
  size_t at = 0;
  while (at < value.size()) {
    const size_t start = value.find_first_not_of(", \t\r\n", at);
    if (start == std::string_view::npos) break;
    at = std::min(value.find_first_of(", \t\r\n", start), value.size());
    const std::string word = AsciiLowered(value.substr(start, at - start));
    if (!SetLevel(word, &log) && !SetFeature(word, &log)) {
      return absl::InvalidArgumentError(fmt::format(
          "unknown TLS log level \"{}\" (0 to 4, none, routine, debug, ssl-expert, or features "
          "such as summary, untrusted, peercert, certmatch, verbose, cache)",
          OneLine(word)));
    }
  }
  return log;
}

std::string TlsLogReducedWarning(std::string_view parameter, std::string_view value) {
  return fmt::format(
      "{} = {}: the transmission after STARTTLS is not dumped, as it holds passwords and mail; "
      "logging as at level 3",
      parameter, OneLine(value));
}

std::vector<std::string> TlsStartLines(const TlsLog& log, LogStyle style, const TlsStart& start) {
  std::vector<std::string> lines;
  if (style == LogStyle::kPostfix22) {
    if (log.level >= 2 && start.engine_first_used) lines.emplace_back("starting TLS engine");
    if (log.level >= 1) lines.push_back("setting up TLS connection to " + OneLine(start.peer.host));
  } else if (log.verbose) {
    if (start.engine_first_used) lines.emplace_back("initializing the client-side TLS engine");
    lines.push_back("setting up TLS connection to " + PeerNamePort(start.peer));
    lines.push_back(fmt::format("{}: TLS cipher list \"{}\"", PeerNamePort(start.peer),
                                OneLine(start.cipher_list)));
  }
  const bool cache = style == LogStyle::kPostfix22 ? log.level >= 3 : log.cache;
  if (cache && !start.session_cache_id.empty()) {
    const std::string_view name = style == LogStyle::kPostfix22 ? "client" : "smtp";
    lines.push_back(
        fmt::format("looking for session {} in {} cache", OneLine(start.session_cache_id), name));
    if (start.session_reloaded) {
      lines.push_back(
          fmt::format("reloaded session {} from {} cache", OneLine(start.session_cache_id), name));
    }
  }
  return lines;
}

std::string_view TlsTrustWord(const TlsFacts& facts) {
  if (!facts.peer_certificate) return "Anonymous";
  // A good chain is not enough where a match was demanded: such a server is not trusted.
  if (!facts.chain_trusted || (facts.must_match && !facts.name_matched)) return "Untrusted";
  return facts.must_match ? "Verified" : "Trusted";
}

std::string TlsSummaryLine(const TlsFacts& facts) {
  const bool client = facts.role == TlsRole::kClient;
  std::string line =
      fmt::format("{} TLS connection {} {} {}", TlsTrustWord(facts),
                  facts.connection_reused ? "reused" : "established", client ? "to" : "from",
                  client ? PeerNamePort(facts.peer) : PeerName(facts.peer));
  if (!client && !facts.sni.empty()) line += " to " + OneLine(facts.sni);
  fmt::format_to(std::back_inserter(line), ": {} with cipher {} ({}/{} bits)", facts.protocol,
                 facts.cipher, facts.cipher_bits_used, facts.cipher_bits);
  AppendDetail(&line, "key-exchange", facts.key_exchange);
  AppendDetail(&line, "server-signature", facts.server_signature);
  if (!facts.server_signature.empty()) AppendDetail(&line, "server-digest", facts.server_digest);
  AppendDetail(&line, "client-signature", facts.client_signature);
  if (!facts.client_signature.empty()) AppendDetail(&line, "client-digest", facts.client_digest);
  return line;
}

std::vector<std::string> TlsHandshakeLines(const TlsLog& log, LogStyle style,
                                           const TlsFacts& facts) {
  if (style == LogStyle::kPostfix22) return HandshakeLines22(log, facts);
  std::vector<std::string> lines;
  const std::string peer = PeerNamePort(facts.peer);
  const bool details = log.match || log.verbose || log.peer_certificate;
  if (log.verbose) {
    for (const TlsChainStep& step : facts.chain) {
      lines.push_back(fmt::format("{}: depth={} verify={} subject={}", peer, step.depth,
                                  step.ok ? 1 : 0, OneLine(step.subject)));
    }
  }
  if (log.cache && facts.session_resumed) lines.push_back(peer + ": Reusing old session");
  if (facts.peer_certificate) {
    const bool matched = facts.chain_trusted && facts.name_matched;
    if (details && matched && !facts.matched_name.empty()) {
      lines.push_back(fmt::format("{}: matched peername: {}", peer, OneLine(facts.matched_name)));
    }
    // A level that demands a match always says why there is none.
    if (!facts.chain_trusted && (log.untrusted || facts.must_match)) {
      if (facts.session_resumed) {
        lines.push_back(peer +
                        ": re-using session with untrusted certificate, look for details earlier "
                        "in the log");
      } else if (!facts.verify_problem.empty()) {
        lines.push_back(VerifyProblemLine(facts));
      }
    }
    if (details) lines.push_back(SubjectLine(facts));
  }
  if (log.summary) lines.push_back(TlsSummaryLine(facts));
  return lines;
}

std::optional<std::string> TlsSessionSavedLine(const TlsLog& log, LogStyle style,
                                               std::string_view session_cache_id) {
  const bool old = style == LogStyle::kPostfix22;
  if (old ? log.level < 3 : !log.cache) return std::nullopt;
  return fmt::format("save session {} to {} cache", OneLine(session_cache_id),
                     old ? "client" : "smtp");
}

std::optional<std::string> TlsStateLine(const TlsLog& log, TlsRole role, std::string_view state) {
  if (!log.ssl_debug) return std::nullopt;
  return fmt::format("{}:{}", role == TlsRole::kClient ? "SSL_connect" : "SSL_accept",
                     OneLine(state));
}

std::vector<std::string> TlsDumpLines(const TlsLog& log, std::string_view octets) {
  std::vector<std::string> lines;
  if (!log.handshake_dump) return lines;
  octets = octets.substr(0, kTlsDumpOctetsMax);
  for (size_t offset = 0; offset < octets.size(); offset += kDumpWidth) {
    const std::string_view row = octets.substr(offset, kDumpWidth);
    std::string line = fmt::format("{:04x} ", offset);
    std::string text;
    for (size_t i = 0; i < kDumpWidth; ++i) {
      if (i >= row.size()) {
        line += "   ";
        continue;
      }
      const auto octet = static_cast<uint8_t>(row[i]);
      fmt::format_to(std::back_inserter(line), "{:02x}{}", octet, i == 7 ? '|' : ' ');
      text += octet >= 0x20 && octet < 0x7f ? row[i] : '.';
      if (i == 7) text += ' ';
    }
    lines.push_back(line + " " + text);
  }
  return lines;
}

std::string TlsFailureLine(TlsRole role, const Peer& peer, std::string_view reason) {
  return role == TlsRole::kClient
             ? fmt::format("SSL_connect error to {}: {}", PeerNamePort(peer), OneLine(reason))
             : fmt::format("SSL_accept error from {}: {}", PeerName(peer), OneLine(reason));
}

}  // namespace mailrace::logs
