#include "transport/tls/self_signed.h"

#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/socket_address.h"

namespace mailrace::transport::tls {
namespace {

constexpr size_t kNameOctetsMax = 253;
constexpr size_t kCommonNameOctetsMax = 64;  // RFC 5280, ub-common-name.

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>>;

// The name goes in as octets, never through the library's configuration syntax, where a
// comma would begin another name.
bool AddSubjectAltName(X509* certificate, std::string_view host) {
  const absl::StatusOr<IpAddress> ip = IpAddress::Parse(host);
  ASN1_STRING* octets = ip.ok() ? static_cast<ASN1_STRING*>(ASN1_OCTET_STRING_new())
                                : static_cast<ASN1_STRING*>(ASN1_IA5STRING_new());
  if (octets == nullptr) return false;
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (name == nullptr) {
    ASN1_STRING_free(octets);
    return false;
  }
  GENERAL_NAME_set0_value(name, ip.ok() ? GEN_IPADD : GEN_DNS, octets);
  const NamesPtr names(GENERAL_NAMES_new());
  if (names == nullptr || sk_GENERAL_NAME_push(names.get(), name) == 0) {
    GENERAL_NAME_free(name);
    return false;
  }
  const void* data = ip.ok() ? static_cast<const void*>(ip->octets.data()) : host.data();
  const int size = ip.ok() ? (ip->v6 ? 16 : 4) : static_cast<int>(host.size());
  return ASN1_STRING_set(octets, data, size) == 1 &&
         X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) == 1;
}

bool Fill(X509* certificate, EVP_PKEY* key, std::string_view host) {
  uint64_t serial = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) return false;
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto* text = reinterpret_cast<const unsigned char*>(host.data());
  const int common_octets = static_cast<int>(std::min(host.size(), kCommonNameOctetsMax));
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1 &&
         // An hour back, for peers whose clock is a little behind.
         X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * 24 * 3600) != nullptr &&
         X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text, common_octets, -1,
                                    0) == 1 &&
         X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
         AddSubjectAltName(certificate, host) && X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

absl::StatusOr<SelfSigned> MakeSelfSigned(std::string_view host) {
  if (host.empty() || host.size() > kNameOctetsMax) {
    return absl::InvalidArgumentError("a certificate's host name has 1 to 253 octets");
  }
  ERR_clear_error();
  SelfSigned made{X509Ptr(X509_new()), PkeyPtr(EVP_EC_gen("P-256"))};
  if (made.certificate == nullptr || made.key == nullptr ||
      !Fill(made.certificate.get(), made.key.get(), host)) {
    return absl::InternalError(TakeReason("cannot make a certificate"));
  }
  return made;
}

}  // namespace mailrace::transport::tls
