// TLS towards relays. Each member is the parameter of its name; meaning, unit, default
// and range: docs/CONFIGURATION.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace mailrace::engine::config {

// In the order that every comparison uses: each demands more than the one before.
// (Postfix has dane levels between fingerprint and verify; they are refused at load.)
enum class TlsLevel { kNone, kMay, kEncrypt, kFingerprint, kVerify, kSecure };

// "none", "may", "encrypt", "fingerprint", "verify", "secure".
std::string_view TlsLevelName(TlsLevel level);
// Without case. Nothing for other words.
std::optional<TlsLevel> ParseTlsLevel(std::string_view text);

struct TlsOptions {
  bool smtp_use_tls = false;
  bool smtp_enforce_tls = false;
  bool smtp_tls_enforce_peername = true;
  std::string smtp_tls_per_site;
  std::string smtp_tls_policy_maps;
  std::string smtp_tls_security_level;
  int64_t smtp_tls_loglevel = 0;  // 0..4; names and higher numbers are mapped.
  bool smtp_tls_note_starttls_offer = false;

  std::string smtp_tls_cert_file;
  std::string smtp_tls_key_file;
  std::string smtp_tls_eccert_file;
  std::string smtp_tls_eckey_file;
  std::vector<std::string> smtp_tls_chain_files;
  std::string smtp_tls_CAfile;
  std::string smtp_tls_CApath;
  bool tls_append_default_CA = false;
  std::vector<std::string> smtp_tls_trust_anchor_file;
  int64_t smtp_tls_scert_verifydepth = 0;

  std::string smtp_tls_ciphers;
  std::string smtp_tls_mandatory_ciphers;
  std::string smtp_tls_protocols;
  std::string smtp_tls_mandatory_protocols;
  std::vector<std::string> smtp_tls_exclude_ciphers;
  std::vector<std::string> smtp_tls_mandatory_exclude_ciphers;

  std::vector<std::string> smtp_tls_verify_cert_match;
  std::vector<std::string> smtp_tls_secure_cert_match;
  std::vector<std::string> smtp_tls_fingerprint_cert_match;
  std::string smtp_tls_fingerprint_digest;
  bool smtp_tls_match_subject_cn = false;
  std::string smtp_tls_servername;

  std::string smtp_tls_session_cache_database;
  absl::Duration smtp_tls_session_cache_timeout;
  bool smtp_tls_connection_reuse = false;
  bool smtp_tls_wrappermode = false;
  bool smtp_log_tls_feature_status = true;

  // The level where no table says otherwise: smtp_tls_security_level, else by the two
  // old switches. REQUIRES: a loaded configuration (the level's word is valid).
  TlsLevel GlobalLevel() const;
  // The parameter that decided GlobalLevel().
  std::string_view GlobalLevelParameter() const;
};

}  // namespace mailrace::engine::config
