#include "transport/tls/certificate.h"

#include <openssl/asn1.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::tls {
namespace {

// 112 bits: RSA of 2048, SHA-256. OpenSSL's level 2, Debian's default.
constexpr int kAuthenticationLevel = 2;

// Collects, across the calls of OpenSSL's verification callback, the problem nearest the
// leaf: the one that an operator has to repair first.
struct Verdict {
  int error = X509_V_OK;
  int depth = -1;
  int depth_max = 0;
  X509Ptr certificate;  // The one in question, if the library named it.

  void Note(int new_error, int new_depth, X509* new_certificate) {
    if (error != X509_V_OK && depth <= new_depth) return;
    error = new_error;
    depth = new_depth;
    if (new_certificate != nullptr) X509_up_ref(new_certificate);
    certificate.reset(new_certificate);
  }
};

int OnVerify(int ok, X509_STORE_CTX* store) {
  Verdict* verdict = static_cast<Verdict*>(X509_STORE_CTX_get_app_data(store));
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  const int depth = X509_STORE_CTX_get_error_depth(store);
  const int error = X509_STORE_CTX_get_error(store);
  if (depth > verdict->depth_max) {
    // The library stops one later and would call the chain incomplete instead.
    verdict->Note(X509_V_ERR_CERT_CHAIN_TOO_LONG, depth, certificate);
  } else if (ok == 0 && error != X509_V_ERR_UNABLE_TO_GET_CRL) {
    // CRLs bind the issuers that have one; the others are not thereby refused.
    verdict->Note(error, depth, certificate);
  }
  return 1;
}

std::string OneLine(const X509_NAME* name) {
  char text[256];
  X509_NAME_oneline(name, text, sizeof text);
  return Printable(text);
}

// As Postfix's tls_log_verify_error words it, behind "certificate verification failed
// for HOST: ".
std::string Problem(const Verdict& verdict) {
  switch (verdict.error) {
    case X509_V_OK:
      return "";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "self-signed certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return fmt::format("untrusted issuer {}",
                         verdict.certificate == nullptr
                             ? "<unknown>"
                             : OneLine(X509_get_issuer_name(verdict.certificate.get())));
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
      return "certificate not yet valid";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
      return "certificate has expired";
    case X509_V_ERR_INVALID_PURPOSE:
      return fmt::format("not designated for use as a {} certificate",
                         verdict.depth > 0 ? "CA" : "server");
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
      return fmt::format("certificate chain longer than limit({})", verdict.depth_max);
    default:
      return fmt::format("num={}:{}", verdict.error, X509_verify_cert_error_string(verdict.error));
  }
}

std::string Fingerprint(const unsigned char* octets, int size) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned digest_octets = 0;
  if (size < 0 || EVP_Digest(octets, static_cast<size_t>(size), digest, &digest_octets,
                             EVP_sha256(), nullptr) != 1) {
    return "";
  }
  std::string text;
  for (unsigned i = 0; i < digest_octets; ++i) {
    text += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  }
  return text;
}

}  // namespace

std::string VerifyChain(const OpensslContext& context, SSL* ssl) {
  StoreCtxPtr store(X509_STORE_CTX_new());
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (store == nullptr || X509_STORE_CTX_init(store.get(), SSL_CTX_get_cert_store(context.get()),
                                              leaf, SSL_get_peer_cert_chain(ssl)) != 1) {
    return TakeReason("no memory");
  }
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(store.get());
  X509_STORE_CTX_set_default(store.get(), "ssl_server");
  X509_VERIFY_PARAM_set_auth_level(param, kAuthenticationLevel);
  X509_VERIFY_PARAM_set_depth(param, context.verify_depth() + 1);
  Verdict verdict;
  verdict.depth_max = context.verify_depth();
  X509_STORE_CTX_set_app_data(store.get(), &verdict);
  X509_STORE_CTX_set_verify_cb(store.get(), OnVerify);
  const int verified = X509_verify_cert(store.get());
  ERR_clear_error();
  if (verified != 1 && verdict.error == X509_V_OK) {
    // The library gave up by itself, which it reports without calling back.
    const int error = X509_STORE_CTX_get_error(store.get());
    verdict.Note(error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error, 0, leaf);
  }
  return Problem(verdict);
}

bool MatchesName(X509* certificate, const NameCheck& check) {
  // Wildcards are a whole leftmost label and cover exactly one label.
  unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
  if (!check.subject_cn) flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  for (std::string_view name : check.names) {
    if (name.ends_with('.')) name.remove_suffix(1);  // The root's dot (RFC 1034 3.1).
    // The library would take a leading dot for "any sub-domain" of nothing, find an
    // address in a dNSName (V8), and stop at a NUL.
    if (name.empty() || name == "." || name.find('\0') != std::string_view::npos) continue;
    if (IpAddress::Parse(name).ok()) continue;
    // A leading dot has the meaning that NameCheck gives it: the library's own.
    if (X509_check_host(certificate, name.data(), name.size(), flags, nullptr) == 1) return true;
  }
  if (!check.ip) return false;
  return X509_check_ip(certificate, check.ip->octets.data(), check.ip->v6 ? 16 : 4, 0) == 1;
}

std::string CommonName(const X509_NAME* name) {
  int index = -1;
  int last = -1;
  while ((index = X509_NAME_get_index_by_NID(name, NID_commonName, index)) >= 0) last = index;
  if (last < 0) return "";
  unsigned char* utf8 = nullptr;
  const int size =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
  if (size < 0) {
    ERR_clear_error();
    return "";
  }
  const std::string text(reinterpret_cast<char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  if (text.find('\0') != std::string::npos) return "";
  return Printable(text, 256);
}

std::string CertificateFingerprint(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  std::string text = Fingerprint(der, size);
  OPENSSL_free(der);
  return text;
}

std::string PublicKeyFingerprint(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  std::string text = Fingerprint(der, size);
  OPENSSL_free(der);
  return text;
}

absl::Time NotAfter(X509* certificate) {
  tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) {
    ERR_clear_error();
    return absl::InfinitePast();
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

}  // namespace mailrace::transport::tls
