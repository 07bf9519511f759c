#include "transport/tls/files.h"

#include <openssl/pem.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "fmt/format.h"

namespace mailrace::transport::tls {
namespace {

// The library's default would ask on the terminal.
int NoPassPhrase(char* /*out*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::Status FileError(std::string_view what, const std::string& file) {
  return absl::InvalidArgumentError(
      fmt::format("cannot load {} {}: {}", what, file, TakeReason("no PEM data")));
}

using InfoStackPtr = std::unique_ptr<STACK_OF(X509_INFO), decltype([](STACK_OF(X509_INFO) * s) {
                                       sk_X509_INFO_pop_free(s, X509_INFO_free);
                                     })>;

absl::Status UseCaFile(X509_STORE* store, const std::string& file) {
  const BioPtr bio(BIO_new_file(file.c_str(), "r"));
  if (bio == nullptr) return FileError("CAfile", file);
  const InfoStackPtr infos(PEM_X509_INFO_read_bio(bio.get(), nullptr, NoPassPhrase, nullptr));
  if (infos == nullptr) return FileError("CAfile", file);
  size_t certificates = 0;
  size_t revocations = 0;
  for (int i = 0; i < sk_X509_INFO_num(infos.get()); ++i) {
    const X509_INFO* info = sk_X509_INFO_value(infos.get(), i);
    if (info->x509 != nullptr) {
      if (X509_STORE_add_cert(store, info->x509) != 1) return FileError("CAfile", file);
      ++certificates;
    }
    if (info->crl != nullptr) {
      if (X509_STORE_add_crl(store, info->crl) != 1) return FileError("CAfile", file);
      ++revocations;
    }
  }
  if (certificates == 0) {
    return absl::InvalidArgumentError(
        fmt::format("cannot load CAfile {}: there is no certificate in it", file));
  }
  if (revocations > 0) {
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status UseCertificate(SSL_CTX* ctx, const std::string& cert_file,
                            const std::string& key_file) {
  ERR_clear_error();
  SSL_CTX_set_default_passwd_cb(ctx, NoPassPhrase);
  if (SSL_CTX_use_certificate_chain_file(ctx, cert_file.c_str()) != 1) {
    return FileError("certificate", cert_file);
  }
  const std::string& key = key_file.empty() ? cert_file : key_file;
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(ctx) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("cannot use private key {} for certificate {}: {}", key, cert_file,
                    TakeReason("no PEM data")));
  }
  return absl::OkStatus();
}

absl::Status UseTrustAnchors(SSL_CTX* ctx, const ClientContextOptions& options) {
  ERR_clear_error();
  if (!options.ca_file.empty()) {
    absl::Status status = UseCaFile(SSL_CTX_get_cert_store(ctx), options.ca_file);
    if (!status.ok()) return status;
  }
  if (!options.ca_path.empty()) {
    struct stat found{};
    // The library looks into the directory only when it needs a certificate.
    const int error = stat(options.ca_path.c_str(), &found) != 0 ? errno
                      : S_ISDIR(found.st_mode)                   ? 0
                                                                 : ENOTDIR;
    if (error != 0) {
      return absl::InvalidArgumentError(fmt::format("cannot use CApath {}: {}", options.ca_path,
                                                    std::generic_category().message(error)));
    }
    if (SSL_CTX_load_verify_dir(ctx, options.ca_path.c_str()) != 1) {
      return FileError("CApath", options.ca_path);
    }
  }
  const bool any = !options.ca_file.empty() || !options.ca_path.empty();
  if (any && options.append_default_ca && SSL_CTX_set_default_verify_paths(ctx) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("cannot load the system's certificates: {}", TakeReason("unknown")));
  }
  return absl::OkStatus();
}

}  // namespace mailrace::transport::tls
