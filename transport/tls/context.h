// What all TLS connections under one configuration share: trust anchors, own
// certificate, protocols, ciphers. Immutable once made; any thread may use it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::transport::tls {

// Files are read once, here (the hashed files of a CApath as they are needed). Every
// string is as main.cf has it.
//
// Two levels of strength, as Postfix draws the line: while anonymous ciphers are allowed
// (levels "may" and "encrypt") anything beats plain text, so weak parameters and TLS 1.0
// pass; once `exclude_ciphers` names aNULL the peer is to be authenticated and the
// library's level 1 holds (no TLS below 1.2, no parameters under 80 bits). A chain is
// called trusted only if every key and digest in it has 112 bits, at either level.
struct ClientContextOptions {
  // smtp_tls_CAfile; empty and ca_path empty: trust nothing. Certificates revoked by a
  // CRL in the same file are not trusted; issuers without a CRL are unaffected.
  std::string ca_file;
  std::string ca_path;             // smtp_tls_CApath
  bool append_default_ca = false;  // tls_append_default_CA; without a CAfile/CApath no effect.
  // If not empty: what these PEM files hold is trusted, roots or not, and nothing else
  // (smtp_tls_trust_anchor_file, tafile=).
  std::vector<std::string> trust_anchor_files;
  std::string cert_file;  // PEM chain; empty: no client certificate.
  std::string key_file;   // Empty: the same file. Never encrypted.
  // A second one of another kind of key; the server's taste decides (smtp_tls_eccert_file).
  std::string eccert_file;
  std::string eckey_file;
  // Instead of the four: each key with its certificate and chain behind it, in one file or
  // several (smtp_tls_chain_files).
  std::vector<std::string> chain_files;
  // Postfix syntax: ">=TLSv1.2", "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3". Empty: default.
  std::string protocols = ">=TLSv1";
  // Postfix's grade: export, low, medium, high, null; and exclusions ("aNULL, MD5").
  std::string cipher_grade = "medium";
  std::vector<std::string> exclude_ciphers;
  int verify_depth = 9;  // smtp_tls_scert_verifydepth: of the trust anchor; the server is 0.
};

struct ServerContextOptions {
  std::string cert_file;  // PEM chain. REQUIRED.
  std::string key_file;   // Empty: the same file.
  std::string protocols = ">=TLSv1.2";
  std::string cipher_grade = "medium";
};

class Context {
 public:
  virtual ~Context() = default;
  // Of a client: the library's cipher list below TLS 1.3, for logs. Empty for a server.
  virtual const std::string& cipher_list() const = 0;
  // There is an own certificate, for a peer that asks for one.
  virtual bool has_certificate() const = 0;
};

// Errors name the file and the library's reason. A private key that does not fit its
// certificate, a CA file without a certificate: errors, not warnings.
absl::StatusOr<std::shared_ptr<const Context>> MakeClientContext(
    const ClientContextOptions& options);
absl::StatusOr<std::shared_ptr<const Context>> MakeServerContext(
    const ServerContextOptions& options);
// A throw-away self-signed server certificate in memory for `host`; for the sink and tests.
// `host` may be an address literal. ECDSA P-256, valid for a year, its own trust anchor.
absl::StatusOr<std::shared_ptr<const Context>> MakeSelfSignedServerContext(std::string_view host);
// The context's own certificate as PEM, fit for a peer's CAfile; empty if it has none.
std::string CertificatePem(const Context& context);

// Adds octets to the library's primary random generator. Never replaces its own
// entropy (postfix-semantics 3.7). Thread-safe.
void AddEntropy(std::string_view octets);

}  // namespace mailrace::transport::tls
