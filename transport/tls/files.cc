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

struct FreePem {
  void operator()(void* memory) const { OPENSSL_free(memory); }
};

// One block of a PEM file.
struct PemBlock {
  std::unique_ptr<char, FreePem> name;    // "CERTIFICATE"
  std::unique_ptr<char, FreePem> header;  // Not empty: encrypted.
  std::unique_ptr<unsigned char, FreePem> octets;
  long size = 0;
};

bool ReadPemBlock(BIO* bio, PemBlock* block) {
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* octets = nullptr;
  const bool read = PEM_read_bio(bio, &name, &header, &octets, &block->size) == 1;
  block->name.reset(name);
  block->header.reset(header);
  block->octets.reset(octets);
  return read;
}

// Puts what is read together: a key, its certificate, its chain, and so on.
class ChainReader {
 public:
  explicit ChainReader(SSL_CTX* ctx) : ctx_(ctx) {}

  absl::Status Read(const std::string& file) {
    const BioPtr bio(BIO_new_file(file.c_str(), "r"));
    if (bio == nullptr) return FileError("chain file", file);
    bool any = false;
    for (PemBlock block; ReadPemBlock(bio.get(), &block); any = true) {
      absl::Status status = Take(block, file);
      if (!status.ok()) return status;
    }
    // What ended it: the end of the file, which the library calls a missing start line.
    if (!any) return FileError("chain file", file);
    ERR_clear_error();
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (key_ != nullptr) return Bad(key_file_, "there is no certificate behind the private key");
    return used_ ? absl::OkStatus() : Bad("smtp_tls_chain_files", "there is no private key");
  }

 private:
  static absl::Status Bad(std::string_view file, std::string_view why) {
    return absl::InvalidArgumentError(fmt::format("cannot load chain file {}: {}", file, why));
  }

  absl::Status Take(const PemBlock& block, const std::string& file) {
    const std::string_view name = block.name.get();
    const unsigned char* octets = block.octets.get();
    if (name.ends_with("PRIVATE KEY")) {
      if (key_ != nullptr) return Finish();
      if (name.starts_with("ENCRYPTED") || block.header.get()[0] != '\0') {
        return Bad(file, "the private key is encrypted");
      }
      key_.reset(d2i_AutoPrivateKey(nullptr, &octets, block.size));
      if (key_ == nullptr) return FileError("private key", file);
      key_file_ = file;
      return absl::OkStatus();
    }
    if (!name.ends_with("CERTIFICATE")) return absl::OkStatus();  // Parameters of the key.
    const X509Ptr certificate(d2i_X509(nullptr, &octets, block.size));
    if (certificate == nullptr) return FileError("certificate", file);
    return key_ == nullptr ? AddToChain(certificate.get(), file) : UsePair(certificate.get(), file);
  }

  absl::Status UsePair(X509* certificate, const std::string& file) {
    if (SSL_CTX_use_cert_and_key(ctx_, certificate, key_.get(), nullptr, 1) != 1) {
      return FileError("certificate", file);
    }
    key_.reset();
    used_ = true;
    return absl::OkStatus();
  }

  absl::Status AddToChain(X509* certificate, const std::string& file) {
    if (!used_) return Bad(file, "the private key has to be before its certificate");
    if (SSL_CTX_add1_chain_cert(ctx_, certificate) == 1) return absl::OkStatus();
    return FileError("certificate", file);
  }

  SSL_CTX* const ctx_;
  PkeyPtr key_;  // Whose certificate has not come yet.
  std::string key_file_;
  bool used_ = false;
};

}  // namespace

absl::Status UseChainFiles(SSL_CTX* ctx, const std::vector<std::string>& files) {
  ERR_clear_error();
  SSL_CTX_set_default_passwd_cb(ctx, NoPassPhrase);
  ChainReader reader(ctx);
  for (const std::string& file : files) {
    absl::Status status = reader.Read(file);
    if (!status.ok()) return status;
  }
  return reader.Finish();
}

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
  if (!options.trust_anchor_files.empty()) {
    X509_STORE* const store = SSL_CTX_get_cert_store(ctx);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    for (const std::string& file : options.trust_anchor_files) {
      absl::Status status = UseCaFile(store, file);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
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
