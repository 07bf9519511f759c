// What all TLS connections under one configuration share: trust anchors, own
// certificate, protocols, ciphers. Immutable once made; any thread may use it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrace::transport::tls {

// Files are read once, here. Every string is as main.cf has it.
struct ClientContextOptions {
  std::string ca_file;             // smtp_tls_CAfile; empty and ca_path empty: trust nothing.
  std::string ca_path;             // smtp_tls_CApath
  bool append_default_ca = false;  // tls_append_default_CA; without a CAfile/CApath no effect.
  std::string cert_file;           // PEM; empty: no client certificate.
  std::string key_file;
  // Postfix syntax: ">=TLSv1.2", "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3". Empty: default.
  std::string protocols = ">=TLSv1";
  // Postfix's grade: export, low, medium, high, null; and exclusions ("aNULL, MD5").
  std::string cipher_grade = "medium";
  std::vector<std::string> exclude_ciphers;
  int verify_depth = 9;
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
};

// Errors name the file and the library's reason. A private key that does not fit its
// certificate, a CA file without a certificate: errors, not warnings.
absl::StatusOr<std::shared_ptr<const Context>> MakeClientContext(
    const ClientContextOptions& options);
absl::StatusOr<std::shared_ptr<const Context>> MakeServerContext(
    const ServerContextOptions& options);
// A throw-away self-signed server certificate in memory for `host`; for the sink and tests.
absl::StatusOr<std::shared_ptr<const Context>> MakeSelfSignedServerContext(std::string_view host);

// Adds octets to the library's primary random generator. Never replaces its own
// entropy (postfix-semantics 3.7). Thread-safe.
void AddEntropy(std::string_view octets);

}  // namespace mailrace::transport::tls
