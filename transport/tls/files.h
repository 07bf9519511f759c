// PEM files into a library context. Errors name the file and the reason.
#pragma once

#include "absl/status/status.h"
#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

// A certificate chain and its private key (`key_file` empty: in the same file). An
// encrypted key is an error: nobody is there to type a pass phrase.
absl::Status UseCertificate(SSL_CTX* ctx, const std::string& cert_file,
                            const std::string& key_file);

// Keys, each followed by its certificate and chain; a key may be in another file than they.
absl::Status UseChainFiles(SSL_CTX* ctx, const std::vector<std::string>& files);

// Trust anchors. With neither file nor path nothing is trusted, even if
// options.append_default_ca is set (as Postfix).
absl::Status UseTrustAnchors(SSL_CTX* ctx, const ClientContextOptions& options);

}  // namespace mailrace::transport::tls
