// A throw-away certificate for a server that nobody configured.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

struct SelfSigned {
  X509Ptr certificate;
  PkeyPtr key;
};

// `host`: a DNS name or an address literal, up to 253 octets.
absl::StatusOr<SelfSigned> MakeSelfSigned(std::string_view host);

}  // namespace mailrace::transport::tls
