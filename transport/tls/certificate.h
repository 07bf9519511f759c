// What a peer's certificate says, whether the chain to it is trusted, and whether it
// bears a name. The handshake decides none of this: the engine asks here after every
// handshake, full or resumed, so that a resumed session is judged by today's clock,
// today's trust anchors and the name that is wanted now (reliability.md V7, T-09, T-18
// to T-20).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "base/socket_address.h"
#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

// Verifies the peer's chain of a finished handshake against the context's trust anchors:
// dates, signatures, CA constraints, purpose "TLS server", keys and digests of at least
// 112 bits of security, revocation where the CAfile brought CRLs. Empty if all is well;
// otherwise the problem of the certificate nearest the leaf, in Postfix's words.
// REQUIRES: the peer presented a certificate.
std::string VerifyChain(const OpensslContext& context, SSL* ssl);

struct NameCheck {
  std::vector<std::string> names;  // ".example.com": any name below example.com.
  std::optional<IpAddress> ip;
  bool subject_cn = false;  // Use the subject's CN where no DNS name is in the SAN.
};

// RFC 9525 6.3 without partial wildcards. An address literal among `names` matches
// nothing: only `ip` and an iPAddress SAN can vouch for an address.
bool MatchesName(X509* certificate, const NameCheck& check);

// The last CN of the subject or issuer, fit for a log line; empty if there is none or
// if it holds a NUL.
std::string CommonName(const X509_NAME* name);

// SHA-256 as colon-separated upper-case hex: of the certificate, of its public key
// (SubjectPublicKeyInfo, as Postfix's fingerprint level and DANE "x 1 1" use it).
std::string CertificateFingerprint(X509* certificate);
std::string PublicKeyFingerprint(X509* certificate);

absl::Time NotAfter(X509* certificate);

}  // namespace mailrace::transport::tls
