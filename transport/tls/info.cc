#include "transport/tls/info.h"

#include <openssl/objects.h>

#include "fmt/format.h"

namespace mailrace::transport::tls {
namespace {

std::string GroupName(EVP_PKEY* key) {
  char name[64];
  size_t octets = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof name, &octets) != 1) {
    ERR_clear_error();
    return "";
  }
  return std::string(name, octets);
}

std::string WithDetail(std::string_view name, std::string_view detail) {
  return detail.empty() ? std::string(name) : fmt::format("{} ({})", name, detail);
}

std::string AlgorithmName(EVP_PKEY* key) {
  const char* name = OBJ_nid2sn(EVP_PKEY_get_base_id(key));
  return name == nullptr ? "" : name;
}

// "X25519", "ECDHE (prime256v1)", "DHE (2048 bits)".
std::string KeyExchange(SSL* ssl) {
  EVP_PKEY* raw = nullptr;
  if (SSL_get_peer_tmp_key(ssl, &raw) != 1) {
    ERR_clear_error();
    return "";
  }
  const PkeyPtr key(raw);
  switch (EVP_PKEY_get_base_id(raw)) {
    case EVP_PKEY_DH:
      return WithDetail("DHE", fmt::format("{} bits", EVP_PKEY_get_bits(raw)));
    case EVP_PKEY_EC:
      return WithDetail("ECDHE", GroupName(raw));
    default:
      return AlgorithmName(raw);
  }
}

// "RSA-PSS (2048 bits)", "ECDSA (prime256v1)", "ED25519". TLS 1.3 signs by an RSA key
// with PSS only, whatever the key calls itself.
std::string Signature(X509* certificate) {
  EVP_PKEY* key = certificate == nullptr ? nullptr : X509_get0_pubkey(certificate);
  if (key == nullptr) {
    ERR_clear_error();
    return "";
  }
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      return WithDetail("RSA-PSS", fmt::format("{} bits", EVP_PKEY_get_bits(key)));
    case EVP_PKEY_EC:
      return WithDetail("ECDSA", GroupName(key));
    default:
      return AlgorithmName(key);
  }
}

Info Common(SSL* ssl) {
  Info info;
  info.protocol = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) {
    info.cipher = SSL_CIPHER_get_name(cipher);
    info.cipher_bits_used = SSL_CIPHER_get_bits(cipher, &info.cipher_bits);
  }
  info.resumed = SSL_session_reused(ssl) == 1;
  return info;
}

}  // namespace

Info ClientInfo(const OpensslContext& context, SSL* ssl, const NameCheck& check) {
  Info info = Common(ssl);
  X509* certificate = SSL_get0_peer_certificate(ssl);
  // Before TLS 1.3 the suite's name says these, and Postfix adds nothing.
  if (SSL_version(ssl) >= TLS1_3_VERSION) {
    info.key_exchange = KeyExchange(ssl);
    info.server_signature = Signature(certificate);
    int digest = NID_undef;
    // A resumed handshake has no signature, Ed25519 no digest.
    if (!info.resumed && SSL_get_peer_signature_nid(ssl, &digest) == 1 && digest != NID_undef) {
      info.server_digest = OBJ_nid2sn(digest);
    }
  }
  if (certificate == nullptr) return info;
  info.peer_certificate = true;
  info.verify_problem = VerifyChain(context, ssl);
  info.chain_trusted = info.verify_problem.empty();
  info.name_matched = MatchesName(certificate, check);
  info.subject_cn = CommonName(X509_get_subject_name(certificate));
  info.issuer_cn = CommonName(X509_get_issuer_name(certificate));
  info.certificate_fingerprint = CertificateFingerprint(certificate);
  info.public_key_fingerprint = PublicKeyFingerprint(certificate);
  info.not_after = NotAfter(certificate);
  return info;
}

Info ServerInfo(SSL* ssl) {
  Info info = Common(ssl);
  if (SSL_version(ssl) < TLS1_3_VERSION) return info;
  info.key_exchange = KeyExchange(ssl);
  info.server_signature = Signature(SSL_get_certificate(ssl));
  int digest = NID_undef;
  if (!info.resumed && SSL_get_signature_nid(ssl, &digest) == 1 && digest != NID_undef) {
    info.server_digest = OBJ_nid2sn(digest);
  }
  return info;
}

}  // namespace mailrace::transport::tls
