// The resumable session behind SessionPtr. Memory only; the last owner frees the secret.
#pragma once

#include <utility>

#include "transport/tls/openssl.h"

namespace mailrace::transport::tls {

class Session {
 public:
  explicit Session(SslSessionPtr session) : session_(std::move(session)) {}
  SSL_SESSION* get() const { return session_.get(); }

 private:
  SslSessionPtr session_;
};

// Makes client engines of `ctx` collect the sessions that arrive. Defined beside them.
void KeepNewSessions(SSL_CTX* ctx);

}  // namespace mailrace::transport::tls
