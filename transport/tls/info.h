// Fills Info from a finished handshake, in the words of Postfix's log lines.
#pragma once

#include "transport/tls/certificate.h"
#include "transport/tls/engine.h"
#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

// Client: judges the peer's certificate too, by `check`.
Info ClientInfo(const OpensslContext& context, SSL* ssl, const NameCheck& check);
Info ServerInfo(SSL* ssl);

}  // namespace mailrace::transport::tls
