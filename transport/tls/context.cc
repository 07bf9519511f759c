#include "transport/tls/context.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include <utility>

#include "fmt/format.h"
#include "transport/tls/files.h"
#include "transport/tls/openssl.h"
#include "transport/tls/policy.h"
#include "transport/tls/self_signed.h"
#include "transport/tls/session.h"

namespace mailrace::transport::tls {
namespace {

// Below this the library refuses TLS 1.0 and 1.1, anonymous ciphers and parameters of
// less than 80 bits.
constexpr int kLevelOpportunistic = 0;
constexpr int kLevelAuthenticated = 1;

absl::Status UseProtocols(SSL_CTX* ctx, std::string_view list) {
  const absl::StatusOr<ProtocolRange> range = ParseProtocols(list);
  if (!range.ok()) return range.status();
  uint64_t off = 0;
  if ((range->excluded & kTls10) != 0) off |= SSL_OP_NO_TLSv1;
  if ((range->excluded & kTls11) != 0) off |= SSL_OP_NO_TLSv1_1;
  if ((range->excluded & kTls12) != 0) off |= SSL_OP_NO_TLSv1_2;
  if ((range->excluded & kTls13) != 0) off |= SSL_OP_NO_TLSv1_3;
  SSL_CTX_set_options(ctx, off);
  // Set even without limits: the system's openssl.cnf is not part of main.cf.
  const int lowest = range->lowest < TLS1_VERSION ? TLS1_VERSION : range->lowest;
  const int highest = range->highest > TLS1_3_VERSION ? 0 : range->highest;
  if (SSL_CTX_set_min_proto_version(ctx, lowest) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, highest) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("protocols '{}': {}", list, TakeReason("not supported")));
  }
  return absl::OkStatus();
}

// Returns the list that is in use now.
absl::StatusOr<std::string> UseCiphers(SSL_CTX* ctx, std::string_view grade,
                                       const std::vector<std::string>& exclude) {
  absl::StatusOr<std::string> list = CipherList(grade, exclude);
  if (!list.ok()) return list.status();
  if (SSL_CTX_set_cipher_list(ctx, list->c_str()) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("ciphers '{}': {}", *list, TakeReason("not supported")));
  }
  return list;
}

absl::StatusOr<SslCtxPtr> MakeCtx(const SSL_METHOD* method) {
  ERR_clear_error();
  SslCtxPtr ctx(SSL_CTX_new(method));
  if (ctx == nullptr) return absl::ResourceExhaustedError(TakeReason("cannot initialise TLS"));
  // Idle connections are many: they keep no record buffers.
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS);
  // Renegotiation lets a peer burn our CPU and has no use in SMTP (S-13); compression
  // leaks secrets by their length (CRIME).
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  return ctx;
}

// The handshake accepts any certificate: certificate.h judges it afterwards.
int AcceptAny(X509_STORE_CTX* /*store*/, void* /*argument*/) { return 1; }

absl::Status UseOwnCertificates(SSL_CTX* ctx, const ClientContextOptions& options) {
  if (!options.chain_files.empty()) return UseChainFiles(ctx, options.chain_files);
  if (options.cert_file.empty() && !options.key_file.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("private key {} without a certificate", options.key_file));
  }
  absl::Status status;
  if (!options.cert_file.empty()) {
    status = UseCertificate(ctx, options.cert_file, options.key_file);
  }
  if (status.ok() && !options.eccert_file.empty()) {
    status = UseCertificate(ctx, options.eccert_file, options.eckey_file);
  }
  return status;
}

absl::StatusOr<SslCtxPtr> MakeServerCtx(const ServerContextOptions& options) {
  absl::StatusOr<SslCtxPtr> ctx = MakeCtx(TLS_server_method());
  if (!ctx.ok()) return ctx.status();
  SSL_CTX_set_security_level(ctx->get(), kLevelAuthenticated);
  SSL_CTX_set_dh_auto(ctx->get(), 1);
  absl::Status status = UseProtocols(ctx->get(), options.protocols);
  if (status.ok()) status = UseCiphers(ctx->get(), options.cipher_grade, {"aNULL"}).status();
  if (!status.ok()) return status;
  // Resumption by tickets only, which cost no memory. Their keys belong to this context,
  // and the random stamp says so again: another listener's or an older configuration's
  // ticket leads to a full handshake (S-12).
  SSL_CTX_set_session_cache_mode(ctx->get(), SSL_SESS_CACHE_OFF);
  unsigned char stamp[16];
  if (RAND_bytes(stamp, sizeof stamp) != 1 ||
      SSL_CTX_set_session_id_context(ctx->get(), stamp, sizeof stamp) != 1) {
    return absl::InternalError(TakeReason("cannot stamp TLS sessions"));
  }
  return ctx;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Context>> MakeClientContext(
    const ClientContextOptions& options) {
  absl::StatusOr<SslCtxPtr> made = MakeCtx(TLS_client_method());
  if (!made.ok()) return made.status();
  SSL_CTX* ctx = made->get();
  SSL_CTX_set_security_level(
      ctx, ExcludesAnonymous(options.exclude_ciphers) ? kLevelAuthenticated : kLevelOpportunistic);
  absl::Status status = UseProtocols(ctx, options.protocols);
  absl::StatusOr<std::string> ciphers =
      UseCiphers(ctx, options.cipher_grade, options.exclude_ciphers);
  if (status.ok()) status = ciphers.status();
  if (status.ok()) status = UseTrustAnchors(ctx, options);
  if (status.ok()) status = UseOwnCertificates(ctx, options);
  if (!status.ok()) return status;
  SSL_CTX_set_cert_verify_callback(ctx, AcceptAny, nullptr);
  KeepNewSessions(ctx);
  return std::make_shared<OpensslContext>(*std::move(made), /*server=*/false, options.verify_depth,
                                          *std::move(ciphers));
}

absl::StatusOr<std::shared_ptr<const Context>> MakeServerContext(
    const ServerContextOptions& options) {
  absl::StatusOr<SslCtxPtr> ctx = MakeServerCtx(options);
  if (!ctx.ok()) return ctx.status();
  absl::Status status = UseCertificate(ctx->get(), options.cert_file, options.key_file);
  if (!status.ok()) return status;
  return std::make_shared<OpensslContext>(*std::move(ctx), /*server=*/true, 0);
}

absl::StatusOr<std::shared_ptr<const Context>> MakeSelfSignedServerContext(std::string_view host) {
  absl::StatusOr<SslCtxPtr> ctx = MakeServerCtx({});
  if (!ctx.ok()) return ctx.status();
  const absl::StatusOr<SelfSigned> own = MakeSelfSigned(host);
  if (!own.ok()) return own.status();
  if (SSL_CTX_use_certificate(ctx->get(), own->certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(ctx->get(), own->key.get()) != 1) {
    return absl::InternalError(TakeReason("cannot use the certificate"));
  }
  return std::make_shared<OpensslContext>(*std::move(ctx), /*server=*/true, 0);
}

std::string CertificatePem(const Context& context) {
  const auto* ours = dynamic_cast<const OpensslContext*>(&context);
  X509* certificate = ours == nullptr ? nullptr : SSL_CTX_get0_certificate(ours->get());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (certificate == nullptr || bio == nullptr || PEM_write_bio_X509(bio.get(), certificate) != 1) {
    return "";
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

void AddEntropy(std::string_view octets) {
  // RAND_add takes an int. With the usual seed sources the library reseeds its primary
  // generator from the system too and takes these octets as additional input; the zero
  // estimate says that they need not be entropy at all.
  constexpr size_t kChunkOctetsMax = 64 * 1024;
  while (!octets.empty()) {
    const std::string_view chunk = octets.substr(0, kChunkOctetsMax);
    RAND_add(chunk.data(), static_cast<int>(chunk.size()), 0.0);
    octets.remove_prefix(chunk.size());
  }
}

}  // namespace mailrace::transport::tls
