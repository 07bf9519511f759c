// What is logged about a TLS connection, by smtp_tls_loglevel (and smtpd_tls_loglevel):
// byte for byte Postfix's lines. Pure functions; any thread. The facts are plain values,
// so that this folder knows no TLS library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/logs/log_lines.h"

namespace mailrace::logs {

// What smtp_tls_loglevel asks for.
//
//   level              | summary  verbose, cache  ssl-debug  handshake dump
//   0, none            |    -           -             -            -
//   1, routine         |    x           -             -            -
//   2, debug           |    x           x             x            -
//   3, ssl-expert      |    x           x             x            x
//   4-9, ssl-developer |    as 3: a dump of the whole session would hold passwords
//
// Single features can be named too: summary untrusted peercert certmatch verbose cache
// dane ssl-debug ssl-handshake-packet-dump ssl-session-packet-dump trace.
struct TlsLog {
  bool summary = false;
  bool untrusted = false;  // Reasons of a failed verification even if nothing demands one.
  bool peer_certificate = false;
  bool match = false;
  bool verbose = false;
  bool cache = false;
  bool ssl_debug = false;
  bool handshake_dump = false;
  bool dane = false;
  // The level asked for more than is ever done (4 and above, ssl-session-packet-dump,
  // trace): the caller warns once with TlsLogReducedWarning.
  bool reduced = false;
  // The nearest number, 0..3: Postfix 2.2 knew numbers only, and other thresholds.
  int level = 0;

  friend bool operator==(const TlsLog&, const TlsLog&) = default;
};
// `value` as main.cf has it: words separated by commas or blanks, in any case. The error
// names the word.
absl::StatusOr<TlsLog> ParseTlsLog(std::string_view value);
// "smtp_tls_loglevel = 4: the session is not dumped, ..."
std::string TlsLogReducedWarning(std::string_view parameter, std::string_view value);

enum class TlsRole { kClient, kServer };

// Known before the handshake.
struct TlsStart {
  Peer peer;
  std::string cipher_list;         // In the library's syntax.
  std::string session_cache_id;    // Key of the session looked for; empty: no cache.
  bool session_reloaded = false;   // One was found.
  bool engine_first_used = false;  // The first handshake of this process.
};
// The lines to log before a client handshake; empty at level 0 and 1.
std::vector<std::string> TlsStartLines(const TlsLog& log, LogStyle style, const TlsStart& start);

// One certificate of the peer's chain; depth 0 is the peer's own.
struct TlsChainStep {
  int depth = 0;
  bool ok = false;
  std::string subject;
};

// Known after the handshake.
struct TlsFacts {
  TlsRole role = TlsRole::kClient;
  Peer peer;
  std::string sni;       // Servers: the name that the client asked for; may be empty.
  std::string protocol;  // "TLSv1.3"
  std::string cipher;
  int cipher_bits_used = 0;
  int cipher_bits = 0;
  // As Postfix prints them with their group or size: "X25519", "RSA-PSS (2048 bits)".
  std::string key_exchange;
  std::string server_signature;
  std::string server_digest;
  std::string client_signature;
  std::string client_digest;
  bool session_resumed = false;    // By a ticket.
  bool connection_reused = false;  // A second message over the same connection.
  bool peer_certificate = false;
  bool chain_trusted = false;
  bool name_matched = false;
  bool must_match = false;  // The level is above "encrypt".
  // Why the chain is not trusted: "self-signed certificate", "untrusted issuer NAME",
  // "not trusted by local or TLSA policy", "certificate has expired", "certificate not yet valid",
  // "certificate chain longer than limit(N)", "num=N:TEXT".
  std::string verify_problem;
  std::string matched_name;  // The name or pattern of the certificate that matched.
  std::string subject_cn;
  std::string issuer_cn;
  std::string certificate_fingerprint;
  std::string public_key_fingerprint;
  std::vector<TlsChainStep> chain;  // From the root down, as it was verified.
};
// "Anonymous", "Untrusted", "Trusted" or "Verified"; the last only if a match was
// demanded, as a name that happens to fit secures nothing.
std::string_view TlsTrustWord(const TlsFacts& facts);
// The summary: "Verified TLS connection established to H[IP]:25: TLSv1.3 with cipher …".
std::string TlsSummaryLine(const TlsFacts& facts);
// All lines to log after a handshake, in Postfix's order.
std::vector<std::string> TlsHandshakeLines(const TlsLog& log, LogStyle style,
                                           const TlsFacts& facts);

// "save session ID to smtp cache", where the level has it.
std::optional<std::string> TlsSessionSavedLine(const TlsLog& log, LogStyle style,
                                               std::string_view session_cache_id);
// "SSL_connect:before SSL initialization": one state change, where the level has it.
std::optional<std::string> TlsStateLine(const TlsLog& log, TlsRole role, std::string_view state);
// Handshake octets in hexadecimal and ASCII, 16 a line, at most kTlsDumpOctetsMax.
inline constexpr size_t kTlsDumpOctetsMax = 16 * 1024;
std::vector<std::string> TlsDumpLines(const TlsLog& log, std::string_view octets);
// "SSL_connect error to H[IP]:25: REASON"; logged at every level.
std::string TlsFailureLine(TlsRole role, const Peer& peer, std::string_view reason);

}  // namespace mailrace::logs
