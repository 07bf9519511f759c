// OpenSSL's objects as C++ owners, and its error queue as text. Inside transport/tls/
// only: no other folder sees OpenSSL.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "transport/tls/context.h"

namespace mailrace::transport::tls {

template <auto free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};

using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using BioMethodPtr = std::unique_ptr<BIO_METHOD, OpensslFree<BIO_meth_free>>;
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, OpensslFree<SSL_SESSION_free>>;
using StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;

// The first error of this thread's queue, which is the cause of the others, in the
// library's words ("wrong version number", "No such file or directory"). Empties the
// queue. `otherwise` if the queue holds nothing.
std::string TakeReason(const char* otherwise);

// The one implementation of Context. Immutable after construction.
class OpensslContext final : public Context {
 public:
  OpensslContext(SslCtxPtr ctx, bool server, int verify_depth, std::string cipher_list = "")
      : ctx_(std::move(ctx)),
        server_(server),
        verify_depth_(verify_depth),
        cipher_list_(std::move(cipher_list)) {}

  // The library counts references inside SSL_CTX with atomics: using it to make an SSL
  // from any thread is safe although the pointer is not const.
  SSL_CTX* get() const { return ctx_.get(); }
  bool server() const { return server_; }
  int verify_depth() const { return verify_depth_; }
  const std::string& cipher_list() const override { return cipher_list_; }
  bool has_certificate() const override { return SSL_CTX_get0_certificate(ctx_.get()) != nullptr; }

 private:
  SslCtxPtr ctx_;
  bool server_;
  int verify_depth_;
  std::string cipher_list_;
};

}  // namespace mailrace::transport::tls
