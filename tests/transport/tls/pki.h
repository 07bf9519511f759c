// Certificates, good and bad, made as a test needs them, and a raw OpenSSL server that
// presents them without the scruples of our own.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/buffer.h"

namespace mailrace::transport::tls {

struct Identity {
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;
};

struct CertificateSpec {
  std::string cn = "mail.ex.test";
  std::vector<std::string> dns = {"mail.ex.test"};  // Raw octets, NUL and all.
  std::vector<std::string> ips;
  absl::Duration not_before = absl::Hours(-1);  // From now.
  absl::Duration not_after = absl::Hours(24);
  bool ca = false;
  int path_length = -1;
  std::string extended_key_usage = "serverAuth";
  std::string key_usage;         // "" none, else as in openssl.cnf.
  std::string name_constraints;  // "" none.
  const char* digest = "SHA256";
  std::string key = "EC";  // "EC", "RSA2048", "RSA1024", "ED25519"
};

// Signed by `issuer`, by itself without one.
Identity Issue(const CertificateSpec& spec, const Identity* issuer);
Identity MakeCa(const std::string& cn = "Test CA", const Identity* issuer = nullptr);

std::string Pem(X509* certificate);
std::string Pem(EVP_PKEY* key);
// A CRL of `ca` that revokes the certificates.
std::string CrlPem(const Identity& ca, const std::vector<X509*>& revoked);

// A directory that goes with the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  // Writes and returns the path.
  std::string Write(const std::string& name, const std::string& content) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The other side of a handshake, straight on OpenSSL at its lowest security level.
class RawServer {
 public:
  // `chain` is sent behind the leaf as it is. An empty identity: no certificate at all.
  explicit RawServer(const Identity& leaf, const std::vector<Identity>& chain = {},
                     const std::function<void(SSL_CTX*)>& tweak = {});
  ~RawServer();
  void Receive(std::string_view records);
  void TakeRecords(Buffer* out);
  // One step of whatever is under way; false while the handshake waits.
  bool Handshake();
  SSL* ssl() { return ssl_; }
  SSL_CTX* ctx() { return ctx_; }
  // Drops the connection, keeps context and tickets.
  void Restart();

 private:
  SSL_CTX* ctx_;
  SSL* ssl_ = nullptr;
};

}  // namespace mailrace::transport::tls
