#include "pki.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/socket_address.h"

namespace mailrace::transport::tls {
namespace {

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::shared_ptr<EVP_PKEY> MakeKey(const std::string& kind) {
  EVP_PKEY* key = kind == "RSA2048"   ? EVP_RSA_gen(2048)
                  : kind == "RSA1024" ? EVP_RSA_gen(1024)
                  : kind == "ED25519" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                                      : EVP_EC_gen("P-256");
  return {key, EVP_PKEY_free};
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  if (value.empty()) return;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) std::abort();
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void AddNames(X509* certificate, const CertificateSpec& spec) {
  if (spec.dns.empty() && spec.ips.empty()) return;
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  for (const std::string& dns : spec.dns) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* octets = ASN1_IA5STRING_new();
    ASN1_STRING_set(octets, dns.data(), static_cast<int>(dns.size()));
    GENERAL_NAME_set0_value(name, GEN_DNS, octets);
    sk_GENERAL_NAME_push(names, name);
  }
  for (const std::string& text : spec.ips) {
    const IpAddress ip = *IpAddress::Parse(text);
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_OCTET_STRING* octets = ASN1_OCTET_STRING_new();
    ASN1_STRING_set(octets, ip.octets.data(), ip.v6 ? 16 : 4);
    GENERAL_NAME_set0_value(name, GEN_IPADD, octets);
    sk_GENERAL_NAME_push(names, name);
  }
  X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0);
  GENERAL_NAMES_free(names);
}

}  // namespace

Identity Issue(const CertificateSpec& spec, const Identity* issuer) {
  static long serial = 1;
  Identity made{{X509_new(), X509_free}, MakeKey(spec.key)};
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), absl::ToInt64Seconds(spec.not_before));
  X509_gmtime_adj(X509_getm_notAfter(certificate), absl::ToInt64Seconds(spec.not_after));
  X509_NAME* subject = X509_get_subject_name(certificate);
  if (!spec.cn.empty()) {
    X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(spec.cn.data()),
                               static_cast<int>(spec.cn.size()), -1, 0);
  }
  X509* parent = issuer == nullptr ? certificate : issuer->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(parent));
  X509_set_pubkey(certificate, made.key.get());
  AddNames(certificate, spec);
  std::string constraints = spec.ca ? "critical,CA:TRUE" : "critical,CA:FALSE";
  if (spec.path_length >= 0) constraints += ",pathlen:" + std::to_string(spec.path_length);
  AddExtension(certificate, parent, NID_basic_constraints, constraints);
  AddExtension(certificate, parent, NID_ext_key_usage, spec.ca ? "" : spec.extended_key_usage);
  AddExtension(certificate, parent, NID_key_usage, spec.key_usage);
  AddExtension(certificate, parent, NID_name_constraints, spec.name_constraints);
  EVP_PKEY* signer = issuer == nullptr ? made.key.get() : issuer->key.get();
  const bool edwards = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519;
  if (X509_sign(certificate, signer, edwards ? nullptr : EVP_get_digestbyname(spec.digest)) <= 0) {
    std::abort();
  }
  return made;
}

Identity MakeCa(const std::string& cn, const Identity* issuer) {
  CertificateSpec spec;
  spec.cn = cn;
  spec.dns = {};
  spec.ca = true;
  spec.key_usage = "critical,keyCertSign,cRLSign";
  return Issue(spec, issuer);
}

std::string Pem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  return Text(bio);
}

std::string Pem(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  return Text(bio);
}

std::string CrlPem(const Identity& ca, const std::vector<X509*>& revoked) {
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca.certificate.get()));
  ASN1_TIME* now = X509_gmtime_adj(nullptr, -60);
  ASN1_TIME* later = X509_gmtime_adj(nullptr, 24 * 3600);
  X509_CRL_set1_lastUpdate(crl, now);
  X509_CRL_set1_nextUpdate(crl, later);
  for (X509* certificate : revoked) {
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate));
    X509_REVOKED_set_revocationDate(entry, now);
    X509_CRL_add0_revoked(crl, entry);
  }
  X509_CRL_sort(crl);
  X509_CRL_sign(crl, ca.key.get(), EVP_sha256());
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_CRL(bio, crl);
  ASN1_TIME_free(now);
  ASN1_TIME_free(later);
  X509_CRL_free(crl);
  return Text(bio);
}

TempDir::TempDir() {
  char name[] = "/tmp/mailrace-tls-XXXXXX";
  if (mkdtemp(name) == nullptr) std::abort();
  path_ = name;
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

std::string TempDir::Write(const std::string& name, const std::string& content) const {
  std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

RawServer::RawServer(const Identity& leaf, const std::vector<Identity>& chain,
                     const std::function<void(SSL_CTX*)>& tweak)
    : ctx_(SSL_CTX_new(TLS_server_method())) {
  SSL_CTX_set_security_level(ctx_, 0);
  SSL_CTX_set_min_proto_version(ctx_, TLS1_VERSION);
  SSL_CTX_set_dh_auto(ctx_, 1);
  SSL_CTX_set_cipher_list(ctx_, "ALL:!aNULL:@SECLEVEL=0");
  SSL_CTX_set_mode(ctx_, SSL_MODE_NO_AUTO_CHAIN);
  if (leaf.certificate != nullptr) {
    SSL_CTX_use_certificate(ctx_, leaf.certificate.get());
    SSL_CTX_use_PrivateKey(ctx_, leaf.key.get());
  }
  for (const Identity& link : chain) SSL_CTX_add1_chain_cert(ctx_, link.certificate.get());
  if (tweak) tweak(ctx_);
  Restart();
}

RawServer::~RawServer() {
  SSL_free(ssl_);
  SSL_CTX_free(ctx_);
}

void RawServer::Restart() {
  // A session not shut down is not resumable in the old way; here it is.
  if (ssl_ != nullptr) SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
  ssl_ = SSL_new(ctx_);
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_accept_state(ssl_);
}

void RawServer::Receive(std::string_view records) {
  BIO_write(SSL_get_rbio(ssl_), records.data(), static_cast<int>(records.size()));
}

void RawServer::TakeRecords(Buffer* out) {
  char octets[4096];
  int size = 0;
  while ((size = BIO_read(SSL_get_wbio(ssl_), octets, sizeof octets)) > 0) {
    out->Append({octets, static_cast<size_t>(size)});
  }
}

bool RawServer::Handshake() {
  ERR_clear_error();
  const bool done = SSL_do_handshake(ssl_) == 1;
  ERR_clear_error();
  return done;
}

}  // namespace mailrace::transport::tls
