// The registry's chapter on TLS towards relays.
#include <fmt/format.h>

#include "base/text.h"
#include "engine/config/parameter_builders.h"
#include "engine/config/values.h"

namespace mailrace::engine::config {
namespace {

absl::Status Bad(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

absl::Status SetSecurityLevel(std::string_view text, Options& o) {
  if (EqualsIgnoreCase(text, "dane") || EqualsIgnoreCase(text, "dane-only")) {
    return Bad(fmt::format(
        "the level \"{}\" is not supported: it needs DNSSEC-validated TLSA records; use secure or "
        "fingerprint for a known relay, encrypt otherwise",
        text));
  }
  if (!text.empty() && !ParseTlsLevel(text)) {
    return Bad(
        fmt::format("invalid tls security level: \"{}\"; expected none, may, encrypt, "
                    "fingerprint, verify or secure",
                    text.substr(0, 80)));
  }
  o.tls.smtp_tls_security_level = AsciiLowered(text);
  return absl::OkStatus();
}

// Numbers 0..9 and Postfix's names. 4 and more would log the dialogue, passwords and
// all, in Postfix; here they mean 4 for the lines that exist.
absl::Status SetLogLevel(std::string_view text, Options& o) {
  constexpr std::string_view kNames[] = {"none", "routine", "debug", "ssl-expert", "ssl-developer"};
  for (size_t level = 0; level < std::size(kNames); ++level) {
    if (EqualsIgnoreCase(text, kNames[level])) {
      o.tls.smtp_tls_loglevel = static_cast<int64_t>(level);
      return absl::OkStatus();
    }
  }
  const absl::StatusOr<int64_t> level = ParseInteger(text, 0, 9);
  if (!level.ok()) {
    return Bad(fmt::format(
        "bad level \"{}\"; expected 0..4, none, routine, debug, ssl-expert or ssl-developer",
        text.substr(0, 80)));
  }
  o.tls.smtp_tls_loglevel = *level > 4 ? 4 : *level;
  return absl::OkStatus();
}

// Postfix: 0 and below switch the cache off, small values are raised, huge ones refused.
absl::Status SetSessionTimeout(std::string_view text, Options& o) {
  const absl::StatusOr<absl::Duration> time = ParseTime(text, 's', 0, 8'640'000);
  if (!time.ok()) return time.status();
  const bool raised = *time > absl::ZeroDuration() && *time < absl::Seconds(120);
  o.tls.smtp_tls_session_cache_timeout = raised ? absl::Seconds(120) : *time;
  return absl::OkStatus();
}

constexpr std::string_view kGrades = "export low medium high null";

std::vector<Parameter> LevelParameters() {
  return {
      Custom("smtp_tls_security_level", "", &SetSecurityLevel,
             "empty, none, may, encrypt, fingerprint, verify or secure",
             "How much TLS is demanded of servers for which no table says otherwise. Set, it "
             "overrides smtp_use_tls and smtp_enforce_tls.",
             "secure for a relay whose name and CA are known; encrypt at least when logging in."),
      YesNo("smtp_use_tls", "no", MAILRACE_FIELD(tls.smtp_use_tls),
            "Older word for smtp_tls_security_level = may.", "In configurations of that age."),
      YesNo("smtp_enforce_tls", "no", MAILRACE_FIELD(tls.smtp_enforce_tls),
            "Older word for smtp_tls_security_level = verify (or encrypt, see below).",
            "In configurations of that age."),
      YesNo("smtp_tls_enforce_peername", "yes", MAILRACE_FIELD(tls.smtp_tls_enforce_peername),
            "With smtp_enforce_tls: no makes it encrypt, without any check of the certificate.",
            "In configurations of that age."),
      Text("smtp_tls_per_site", "", MAILRACE_FIELD(tls.smtp_tls_per_site), "lookup tables",
           "NONE, MAY, MUST_NOPEERMATCH or MUST by next-hop as written, and by server host "
           "name. MUST_NOPEERMATCH encrypts and checks nothing. Ignored with "
           "smtp_tls_policy_maps.",
           "In configurations of that age; smtp_tls_policy_maps says more."),
      Text("smtp_tls_policy_maps", "", MAILRACE_FIELD(tls.smtp_tls_policy_maps), "lookup tables",
           "A level and attributes by next-hop as written: "
           "\"[relay.example.net]:587 secure match=relay.example.net\". Attributes: ciphers, "
           "protocols, servername, match, exclude, tafile, connection_reuse.",
           "When destinations need different treatment."),
      YesNo("smtp_tls_wrappermode", "no", MAILRACE_FIELD(tls.smtp_tls_wrappermode),
            "TLS from the first octet instead of STARTTLS. Needs level encrypt or stronger.",
            "For a relay on port 465."),
      Custom("smtp_tls_loglevel", "0", &SetLogLevel,
             "0..4, none, routine, debug, ssl-expert or ssl-developer",
             "0: problems; 1: a line for each handshake; 2: certificates and cache; 3 and more: "
             "handshake details. Dialogues are never dumped.",
             "1 is a good permanent setting; 2 while looking for a problem."),
      YesNo("smtp_tls_note_starttls_offer", "no", MAILRACE_FIELD(tls.smtp_tls_note_starttls_offer),
            "Log servers that offer STARTTLS and are not asked for it.",
            "Before demanding TLS from more destinations."),
      YesNo("smtp_log_tls_feature_status", "yes", MAILRACE_FIELD(tls.smtp_log_tls_feature_status),
            "Put tls= into delivery lines.", "no for parsers that stumble over it."),
  };
}

std::vector<Parameter> CertificateParameters() {
  return {
      Text("smtp_tls_cert_file", "", MAILRACE_FIELD(tls.smtp_tls_cert_file), "a PEM file",
           "Our certificate and its chain, for servers that ask for one.",
           "Only when the relay authenticates clients by certificate."),
      Text("smtp_tls_key_file", "$smtp_tls_cert_file", MAILRACE_FIELD(tls.smtp_tls_key_file),
           "a PEM file", "Its private key, without a pass phrase.", "With smtp_tls_cert_file."),
      Text("smtp_tls_eccert_file", "", MAILRACE_FIELD(tls.smtp_tls_eccert_file), "a PEM file",
           "Another certificate of ours, with an ECDSA key, beside smtp_tls_cert_file; the "
           "server's algorithms decide which is shown.",
           "As smtp_tls_cert_file."),
      Text("smtp_tls_eckey_file", "$smtp_tls_eccert_file", MAILRACE_FIELD(tls.smtp_tls_eckey_file),
           "a PEM file", "Its private key.", "With smtp_tls_eccert_file."),
      List("smtp_tls_chain_files", "", MAILRACE_FIELD(tls.smtp_tls_chain_files), "PEM files",
           "Each key, then its certificate and chain, in one file or several; set, the four "
           "parameters above are ignored.",
           "As in newer Postfix configurations."),
      Text("smtp_tls_CAfile", "", MAILRACE_FIELD(tls.smtp_tls_CAfile), "a PEM file",
           "The certification authorities that are trusted. With this and smtp_tls_CApath empty "
           "no server certificate is.",
           "/etc/ssl/certs/ca-certificates.crt for public relays; the own CA's file for private "
           "ones."),
      Text("smtp_tls_CApath", "", MAILRACE_FIELD(tls.smtp_tls_CApath), "a directory",
           "The same as a directory of files with hashed names.", "Instead of smtp_tls_CAfile."),
      YesNo("tls_append_default_CA", "no", MAILRACE_FIELD(tls.tls_append_default_CA),
            "Trust the system's authorities too, if smtp_tls_CAfile or smtp_tls_CApath is set.",
            "When a private CA is added to the public ones."),
      List("smtp_tls_trust_anchor_file", "", MAILRACE_FIELD(tls.smtp_tls_trust_anchor_file),
           "PEM files", "Trust these alone at levels verify and secure.",
           "To pin a relay's authority."),
      Integer("smtp_tls_scert_verifydepth", "9", 0, 100,
              MAILRACE_FIELD(tls.smtp_tls_scert_verifydepth),
              "The longest certificate chain that is followed.", "Hardly ever."),
      List("smtp_tls_verify_cert_match", "hostname", MAILRACE_FIELD(tls.smtp_tls_verify_cert_match),
           "nexthop, dot-nexthop, hostname, a name, .suffix",
           "The names that a certificate must bear at level verify (MUST).", "Hardly ever."),
      List("smtp_tls_secure_cert_match", "nexthop, dot-nexthop",
           MAILRACE_FIELD(tls.smtp_tls_secure_cert_match),
           "nexthop, dot-nexthop, hostname, a name, .suffix",
           "The same at level secure: by default only names that DNS cannot forge.",
           "When the relay's certificate bears another name than the next-hop."),
      List("smtp_tls_fingerprint_cert_match", "",
           MAILRACE_FIELD(tls.smtp_tls_fingerprint_cert_match), "hex digests with colons",
           "Certificate or public key digests that are accepted at level fingerprint.",
           "For a relay with a self-signed certificate."),
      Word("smtp_tls_fingerprint_digest", "sha256", "sha256",
           MAILRACE_FIELD(tls.smtp_tls_fingerprint_digest),
           "Without effect: fingerprints are always SHA-256. MD5 and SHA-1 are refused.", "Never."),
      YesNo("smtp_tls_match_subject_cn", "no", MAILRACE_FIELD(tls.smtp_tls_match_subject_cn),
            "Also compare the subject's CommonName when a certificate has no DNS names. Not in "
            "Postfix, which always does; RFC 9525 forbids it.",
            "yes for the certificate of an old private relay."),
      Text("smtp_tls_servername", "", MAILRACE_FIELD(tls.smtp_tls_servername),
           "empty, hostname, nexthop or a name",
           "The name sent in the handshake (SNI). Empty: none, as in Postfix.",
           "hostname for relays that serve several names."),
  };
}

std::vector<Parameter> CipherParameters() {
  return {
      Word("smtp_tls_ciphers", "medium", kGrades, MAILRACE_FIELD(tls.smtp_tls_ciphers),
           "The weakest cipher grade at level may.", "Hardly ever."),
      Word("smtp_tls_mandatory_ciphers", "medium", kGrades,
           MAILRACE_FIELD(tls.smtp_tls_mandatory_ciphers), "The same at levels encrypt and above.",
           "high where policy prescribes."),
      Text("smtp_tls_protocols", ">=TLSv1", MAILRACE_FIELD(tls.smtp_tls_protocols),
           "\">=TLSv1.2\", \"!SSLv2, !SSLv3\" or names", "The TLS versions at level may.",
           "Hardly ever: old TLS is better than none there."),
      Text("smtp_tls_mandatory_protocols", ">=TLSv1",
           MAILRACE_FIELD(tls.smtp_tls_mandatory_protocols), "as smtp_tls_protocols",
           "The same at levels encrypt and above.", ">=TLSv1.2 for any relay of this decade."),
      List("smtp_tls_exclude_ciphers", "", MAILRACE_FIELD(tls.smtp_tls_exclude_ciphers),
           "OpenSSL cipher or class names", "Ciphers that are never used.",
           "Where policy prescribes."),
      List("smtp_tls_mandatory_exclude_ciphers", "",
           MAILRACE_FIELD(tls.smtp_tls_mandatory_exclude_ciphers), "OpenSSL cipher or class names",
           "The same, further ones at encrypt and above.", "Where policy prescribes."),
      Text("smtp_tls_session_cache_database", "",
           MAILRACE_FIELD(tls.smtp_tls_session_cache_database), "text",
           "Accepted for compatibility: sessions are cached in memory only.", "Never."),
      Custom("smtp_tls_session_cache_timeout", "3600s", &SetSessionTimeout,
             "time, a bare number means seconds, 0..8640000s; below 120s it is raised",
             "How long a TLS session may be resumed; 0: never.",
             "0 to see whole handshakes while testing."),
      YesNo("smtp_tls_connection_reuse", "no", MAILRACE_FIELD(tls.smtp_tls_connection_reuse),
            "Accepted for compatibility: TLS sessions are reused like others (see "
            "smtp_connection_cache_on_demand).",
            "Never."),
  };
}

}  // namespace

ParameterGroup TlsParameters() {
  ParameterGroup out{"TLS to the relay", "What is demanded, whom we trust, what we show.",
                     LevelParameters()};
  for (const auto& chapter : {CertificateParameters(), CipherParameters()}) {
    out.parameters.insert(out.parameters.end(), chapter.begin(), chapter.end());
  }
  return out;
}

}  // namespace mailrace::engine::config
