#include "transport/tls/context.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "fixture.h"
#include "gmock/gmock.h"

namespace mailrace::transport::tls {
namespace {

using testing::HasSubstr;

class ContextTest : public TlsTest {
 protected:
  static std::string ClientError(const ClientContextOptions& options) {
    return std::string(MakeClientContext(options).status().message());
  }
  static std::string ServerError(const ServerContextOptions& options) {
    return std::string(MakeServerContext(options).status().message());
  }
};

TEST_F(ContextTest, AMissingFileIsNamedWithTheSystemsReason) {
  const std::string path = dir_.path() + "/absent.pem";
  EXPECT_EQ(ClientError({.ca_file = path}),
            "cannot load CAfile " + path + ": No such file or directory");
  EXPECT_EQ(ClientError({.ca_path = path}),
            "cannot use CApath " + path + ": No such file or directory");
  EXPECT_EQ(ClientError({.cert_file = path}),
            "cannot load certificate " + path + ": No such file or directory");
  EXPECT_EQ(ServerError({.cert_file = path}),
            "cannot load certificate " + path + ": No such file or directory");
}

TEST_F(ContextTest, ACaFileWithoutACertificateIsAnError) {
  for (const char* content : {"", "no PEM at all\n"}) {
    const std::string path = dir_.Write("empty.pem", content);
    EXPECT_THAT(ClientError({.ca_file = path}), HasSubstr(path));
  }
  const std::string key_only = dir_.Write("key-only.pem", Pem(ca_.key.get()));
  EXPECT_EQ(ClientError({.ca_file = key_only}),
            "cannot load CAfile " + key_only + ": there is no certificate in it");
}

TEST_F(ContextTest, ADamagedCertificateIsAnError) {
  std::string pem = Pem(ca_.certificate.get());
  pem.replace(pem.find('\n') + 20, 4, "!!!!");
  EXPECT_THAT(ClientError({.ca_file = dir_.Write("damaged.pem", pem)}), HasSubstr("damaged.pem"));
}

TEST_F(ContextTest, ACaPathMustBeADirectory) {
  const std::string file = dir_.Write("file", "x");
  EXPECT_EQ(ClientError({.ca_path = file}), "cannot use CApath " + file + ": Not a directory");
}

TEST_F(ContextTest, AHashedCaPathIsTrusted) {
  const unsigned long hash = X509_subject_name_hash(ca_.certificate.get());
  char name[32];
  std::snprintf(name, sizeof name, "%08lx.0", hash);
  dir_.Write(name, Pem(ca_.certificate.get()));
  RawServer server(Issue({}, &ca_));
  EXPECT_TRUE(
      Meet(&server, Matching("mail.ex.test"), ClientContext({.ca_path = dir_.path()})).verified());
}

TEST_F(ContextTest, AKeyThatDoesNotFitItsCertificateIsAnError) {
  const Identity one = Issue({}, &ca_);
  const Identity two = Issue({}, &ca_);
  const std::string cert = dir_.Write("cert.pem", Pem(one.certificate.get()));
  const std::string key = dir_.Write("key.pem", Pem(two.key.get()));
  const std::string expected = "cannot use private key " + key + " for certificate " + cert;
  EXPECT_THAT(ServerError({.cert_file = cert, .key_file = key}), HasSubstr(expected));
  EXPECT_THAT(ClientError({.cert_file = cert, .key_file = key}), HasSubstr(expected));
  EXPECT_THAT(ClientError({.key_file = key}), HasSubstr("without a certificate"));
}

TEST_F(ContextTest, ChainFilesHoldEachKeyBeforeItsCertificate) {
  const Identity own = Issue({}, &ca_);
  const std::string key = dir_.Write("chain.key", Pem(own.key.get()));
  const std::string certificate = dir_.Write("chain.pem", Pem(own.certificate.get()));
  const std::string both = dir_.Write("both.pem", Pem(own.key.get()) + Pem(own.certificate.get()));
  EXPECT_EQ(ClientError({.chain_files = {key, certificate}}), "");
  EXPECT_EQ(ClientError({.chain_files = {both}}), "");
  EXPECT_EQ(ClientError({.chain_files = {both, dir_.Write("ca.pem", Pem(ca_.certificate.get()))}}),
            "");
  const auto context = MakeClientContext({.chain_files = {key, certificate}});
  ASSERT_TRUE(context.ok());
  EXPECT_EQ(CertificatePem(**context), Pem(own.certificate.get()));
}

TEST_F(ContextTest, ChainFilesThatMakeNoPairAreErrors) {
  const Identity own = Issue({}, &ca_);
  const Identity other = Issue({}, &ca_);
  const std::string key = dir_.Write("chain.key", Pem(own.key.get()));
  const std::string certificate = dir_.Write("chain.pem", Pem(own.certificate.get()));
  const std::string strange = dir_.Write("strange.pem", Pem(other.certificate.get()));
  EXPECT_THAT(ClientError({.chain_files = {certificate, key}}),
              HasSubstr(certificate + ": the private key has to be before its certificate"));
  EXPECT_THAT(ClientError({.chain_files = {key}}), HasSubstr("no certificate behind"));
  EXPECT_THAT(ClientError({.chain_files = {key, key}}), HasSubstr("no certificate behind"));
  EXPECT_THAT(ClientError({.chain_files = {key, strange}}), HasSubstr(strange));
  EXPECT_THAT(ClientError({.chain_files = {dir_.path() + "/absent"}}),
              HasSubstr("No such file or directory"));
  EXPECT_THAT(ClientError({.chain_files = {dir_.Write("empty", "")}}), HasSubstr("empty"));
}

TEST_F(ContextTest, TrustAnchorsAloneAreTrustedThoughTheyAreNoRoots) {
  const Identity issuer = MakeCa("Issuer", &ca_);
  const Identity own = Issue({}, &issuer);
  const Identity stranger = MakeCa("Stranger");
  const std::string anchor = dir_.Write("issuer.pem", Pem(issuer.certificate.get()));
  const std::string root = dir_.Write("root.pem", Pem(ca_.certificate.get()));
  const std::string strange = dir_.Write("stranger.pem", Pem(stranger.certificate.get()));
  const auto verified = [&](const ClientContextOptions& options) {
    RawServer server(own);
    return Meet(&server, Matching("mail.ex.test"), ClientContext(options)).verified();
  };
  EXPECT_TRUE(verified({.trust_anchor_files = {anchor}}));
  EXPECT_TRUE(verified({.trust_anchor_files = {strange, anchor}}));
  EXPECT_FALSE(verified({.ca_file = anchor})) << "no root";
  EXPECT_FALSE(verified({.ca_file = root, .trust_anchor_files = {strange}}));
}

TEST_F(ContextTest, AnEncryptedKeyIsAnErrorAndAsksNobody) {
  const Identity own = Issue({}, &ca_);
  BIO* bio = BIO_new(BIO_s_mem());
  char pass[] = "secret";
  PEM_write_bio_PrivateKey(bio, own.key.get(), EVP_aes_128_cbc(), nullptr, 0, nullptr, pass);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  const std::string key = dir_.Write("key.pem", std::string(data, static_cast<size_t>(size)));
  BIO_free(bio);
  const std::string cert = dir_.Write("cert.pem", Pem(own.certificate.get()));
  EXPECT_THAT(ServerError({.cert_file = cert, .key_file = key}), HasSubstr(key));
}

TEST_F(ContextTest, BadWordsAreErrors) {
  EXPECT_THAT(ClientError({.protocols = "TLSv9"}), HasSubstr("'TLSv9'"));
  EXPECT_THAT(ClientError({.cipher_grade = "best"}), HasSubstr("'best'"));
  EXPECT_THAT(ClientError({.exclude_ciphers = {"!x"}}), HasSubstr("'!x'"));
  EXPECT_THAT(ServerError({.cert_file = "x", .protocols = "TLSv9"}), HasSubstr("'TLSv9'"));
}

TEST_F(ContextTest, AServerServesTheChainOfItsFile) {
  const Identity middle = MakeCa("Middle", &ca_);
  const Identity leaf = Issue({}, &middle);
  const std::string file = dir_.Write(
      "all.pem", Pem(leaf.certificate.get()) + Pem(middle.certificate.get()) + Pem(leaf.key.get()));
  const absl::StatusOr<ContextPtr> context = MakeServerContext({.cert_file = file});
  ASSERT_TRUE(context.ok()) << context.status();
  std::unique_ptr<Engine> server = Server(*context);
  std::unique_ptr<Engine> client = Client(Trusting(), Matching("mail.ex.test"));
  ASSERT_TRUE(Shake(client.get(), server.get()).ok());
  EXPECT_TRUE(client->info().verified()) << client->info().verify_problem;
}

TEST_F(ContextTest, ProtocolsLimitTheHandshake) {
  RawServer server(Issue({}, &ca_));
  const auto protocol = [&](const std::string& list) -> std::string {
    server.Restart();
    std::unique_ptr<Engine> client = Client(ClientContext({.protocols = list}), {});
    return Shake(client.get(), &server).ok() ? client->info().protocol : "none";
  };
  EXPECT_EQ(protocol(">=TLSv1"), "TLSv1.3");
  EXPECT_EQ(protocol("!TLSv1.3"), "TLSv1.2");
  EXPECT_EQ(protocol("<=TLSv1.2"), "TLSv1.2");
  EXPECT_EQ(protocol("TLSv1.1"), "TLSv1.1");
  EXPECT_EQ(protocol("TLSv1"), "TLSv1");
}

TEST_F(ContextTest, ExcludedCiphersAreNotOffered) {
  RawServer server(Issue({}, &ca_));
  ClientContextOptions options{.protocols = "TLSv1.2", .exclude_ciphers = {"AESGCM", "CHACHA20"}};
  std::unique_ptr<Engine> client = Client(ClientContext(options), {});
  ASSERT_TRUE(Shake(client.get(), &server).ok());
  EXPECT_EQ(client->info().cipher.find("GCM"), std::string::npos);
  options.exclude_ciphers = {"ALL"};
  EXPECT_FALSE(MakeClientContext(options).ok());
}

TEST_F(ContextTest, AClientCertificateIsSentWhenAsked) {
  const Identity own = Issue({.cn = "client", .extended_key_usage = "clientAuth"}, &ca_);
  ClientContextOptions options;
  options.cert_file = dir_.Write("client.pem", Pem(own.certificate.get()) + Pem(own.key.get()));
  RawServer server(Issue({}, &ca_), {}, [](SSL_CTX* ctx) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  });
  std::unique_ptr<Engine> client = Client(ClientContext(options), {});
  ASSERT_TRUE(Shake(client.get(), &server).ok());
  X509* received = SSL_get0_peer_certificate(server.ssl());
  ASSERT_NE(received, nullptr);
  EXPECT_EQ(X509_cmp(received, own.certificate.get()), 0);
}

TEST_F(ContextTest, ASelfSignedServerIsItsOwnAnchor) {
  for (const std::string host : {"sink.ex.test", "127.0.0.1", "a,DNS:evil.test"}) {
    const absl::StatusOr<ContextPtr> context = MakeSelfSignedServerContext(host);
    ASSERT_TRUE(context.ok()) << context.status();
    const std::string pem = CertificatePem(**context);
    ClientEngineOptions options;
    if (const auto ip = IpAddress::Parse(host); ip.ok()) options.match_ip = *ip;
    options.match_names = {host[0] == 'a' ? "evil.test" : host};
    std::unique_ptr<Engine> server = Server(*context);
    std::unique_ptr<Engine> client =
        Client(ClientContext({.ca_file = dir_.Write("own.pem", pem)}), options);
    ASSERT_TRUE(Shake(client.get(), server.get()).ok());
    EXPECT_TRUE(client->info().chain_trusted) << client->info().verify_problem;
    EXPECT_EQ(client->info().name_matched, host[0] != 'a') << host;
  }
  EXPECT_FALSE(MakeSelfSignedServerContext("").ok());
  EXPECT_FALSE(MakeSelfSignedServerContext(std::string(300, 'x')).ok());
  EXPECT_EQ(CertificatePem(*ClientContext()), "");
}

TEST_F(ContextTest, AnEngineNeedsAContextOfItsSide) {
  const ContextPtr client = ClientContext();
  const ContextPtr server = *MakeSelfSignedServerContext("x.test");
  EXPECT_TRUE(absl::IsInvalidArgument(Engine::Server(client).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Engine::Client(server, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Engine::Client(nullptr, {}).status()));
}

TEST(Entropy, IsAddedToThePrimaryGenerator) {
  unsigned char octet = 0;
  ASSERT_EQ(RAND_bytes(&octet, 1), 1);
  const auto reseeds = [] {
    unsigned count = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_DRBG_PARAM_RESEED_COUNTER, &count),
                           OSSL_PARAM_construct_end()};
    EXPECT_EQ(EVP_RAND_CTX_get_params(RAND_get0_primary(nullptr), params), 1);
    return count;
  };
  const unsigned before = reseeds();
  AddEntropy("from the exchange file");
  EXPECT_GT(reseeds(), before);
  const unsigned between = reseeds();
  AddEntropy("");
  EXPECT_EQ(reseeds(), between);
  EXPECT_EQ(RAND_status(), 1);
}

}  // namespace
}  // namespace mailrace::transport::tls
