#include "transport/tls/engine.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "fixture.h"
#include "gmock/gmock.h"

namespace mailrace::transport::tls {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

class EngineTest : public TlsTest {
 protected:
  void SetUp() override {
    server_context_ = *MakeSelfSignedServerContext("mail.ex.test");
    client_context_ =
        ClientContext({.ca_file = dir_.Write("own.pem", CertificatePem(*server_context_))});
  }
  void Connect(const std::string& name = "mail.ex.test") {
    client_ = Client(client_context_, Matching(name));
    server_ = Server(server_context_);
    ASSERT_TRUE(Shake(client_.get(), server_.get()).ok());
  }
  static std::string Take(Engine* engine) {
    Buffer records;
    engine->TakeRecords(&records);
    return std::string(records.view());
  }
  static std::string ReadAll(Engine* engine) {
    Buffer plaintext;
    EXPECT_TRUE(engine->Read(&plaintext).ok());
    return std::string(plaintext.view());
  }

  ContextPtr server_context_;
  ContextPtr client_context_;
  std::unique_ptr<Engine> client_;
  std::unique_ptr<Engine> server_;
};

TEST_F(EngineTest, CarriesOctetsBothWays) {
  Connect();
  ASSERT_TRUE(client_->Write("EHLO client\r\n").ok());
  const std::string records = Take(client_.get());
  EXPECT_EQ(records.find("EHLO"), std::string::npos);
  server_->Receive(records);
  EXPECT_EQ(ReadAll(server_.get()), "EHLO client\r\n");
  ASSERT_TRUE(server_->Write("250 ok\r\n").ok());
  client_->Receive(Take(server_.get()));
  EXPECT_EQ(ReadAll(client_.get()), "250 ok\r\n");
  EXPECT_TRUE(client_->info().verified());
}

TEST_F(EngineTest, HandshakeAndDataOnEverySplit) {
  // Octet by octet is every split at once: the library sees each prefix.
  client_ = Client(client_context_, Matching("mail.ex.test"));
  server_ = Server(server_context_);
  const auto feed = [](Engine* to, const std::string& records) {
    bool done = false;
    for (char octet : records) {
      to->Receive({&octet, 1});
      const auto step = to->Handshake();
      ASSERT_TRUE(step.ok()) << step.status();
      done = *step == Engine::Step::kDone;
      if (done) {
        Buffer nothing;
        ASSERT_TRUE(to->Read(&nothing).ok());
      }
    }
  };
  ASSERT_TRUE(client_->Handshake().ok());
  for (int flight = 0; flight < 4; ++flight) {
    feed(server_.get(), Take(client_.get()));
    feed(client_.get(), Take(server_.get()));
  }
  ASSERT_EQ(*client_->Handshake(), Engine::Step::kDone);
  ASSERT_TRUE(client_->Write("MAIL FROM:<a@example.org>\r\n").ok());
  const std::string records = Take(client_.get());
  std::string received;
  for (char octet : records) {
    server_->Receive({&octet, 1});
    received += ReadAll(server_.get());
  }
  EXPECT_EQ(received, "MAIL FROM:<a@example.org>\r\n");
}

TEST_F(EngineTest, LargeWritesBecomeSeveralRecords) {
  Connect();
  std::string body(200'000, 'x');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 31);
  ASSERT_TRUE(client_->Write(body).ok());
  server_->Receive(Take(client_.get()));
  EXPECT_EQ(ReadAll(server_.get()), body);
}

TEST_F(EngineTest, TakeRecordsAppends) {
  Connect();
  ASSERT_TRUE(client_->Write("a").ok());
  Buffer out;
  out.Append("before");
  client_->TakeRecords(&out);
  EXPECT_TRUE(out.view().starts_with("before"));
  EXPECT_GT(out.size(), 6U);
}

TEST_F(EngineTest, DataBeforeTheHandshakeIsAnError) {
  client_ = Client(client_context_, {});
  Buffer into;
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->Write("x")));
  EXPECT_TRUE(absl::IsFailedPrecondition(client_->Read(&into).status()));
}

TEST_F(EngineTest, CloseNotifyEndsReadingAndHidesWhatFollows) {
  Connect();
  ASSERT_TRUE(client_->Write("QUIT\r\n").ok());
  client_->Close();
  // One clear-text octet behind close_notify (S-10).
  server_->Receive(Take(client_.get()) + "X");
  Buffer plaintext;
  absl::StatusOr<bool> open = server_->Read(&plaintext);
  ASSERT_TRUE(open.ok());
  EXPECT_FALSE(*open);
  EXPECT_EQ(plaintext.view(), "QUIT\r\n");
  server_->Receive("MAIL FROM:<evil@example.org>\r\n");
  open = server_->Read(&plaintext);
  ASSERT_TRUE(open.ok());
  EXPECT_FALSE(*open);
  EXPECT_EQ(plaintext.view(), "QUIT\r\n");
}

TEST_F(EngineTest, ADamagedRecordFailsForGood) {
  Connect();
  ASSERT_TRUE(client_->Write("hello").ok());
  std::string records = Take(client_.get());
  records.back() ^= 1;
  server_->Receive(records);
  Buffer plaintext;
  const absl::Status status = server_->Read(&plaintext).status();
  EXPECT_EQ(status.message(), "TLS read: decryption failed or bad record mac");
  EXPECT_TRUE(plaintext.empty());
  EXPECT_FALSE(Take(server_.get()).empty()) << "the alert";
  EXPECT_EQ(server_->Read(&plaintext).status(), status);
  EXPECT_EQ(server_->Write("x"), status);
}

TEST_F(EngineTest, PlaintextInsteadOfTlsIsOneReason) {
  client_ = Client(client_context_, {});
  ASSERT_TRUE(client_->Handshake().ok());
  client_->Receive("220 mail.ex.test ESMTP\r\n");
  EXPECT_EQ(client_->Handshake().status().message(), "TLS handshake: wrong version number");
  server_ = Server(server_context_);
  server_->Receive("EHLO client.example.org\r\n");
  EXPECT_FALSE(server_->Handshake().ok());
}

TEST_F(EngineTest, AnAlertIsReportedInTheLibrarysWords) {
  RawServer server(Issue({}, &ca_), {},
                   [](SSL_CTX* ctx) { SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); });
  client_ = Client(ClientContext({.protocols = "TLSv1.3"}), {});
  const absl::Status status = Shake(client_.get(), &server);
  EXPECT_THAT(std::string(status.message()), HasSubstr("alert protocol version"));
}

TEST_F(EngineTest, UnreadRecordsAreBounded) {
  Connect();
  const std::string flood(64 * 1024, '\0');
  for (int i = 0; i < 9; ++i) server_->Receive(flood);
  Buffer plaintext;
  EXPECT_TRUE(absl::IsResourceExhausted(server_->Read(&plaintext).status()));
}

TEST_F(EngineTest, SniIsSentAsGiven) {
  RawServer server(Issue({}, &ca_));
  client_ = Client(client_context_, {.server_name = "mail.ex.test"});
  ASSERT_TRUE(Shake(client_.get(), &server).ok());
  EXPECT_STREQ(SSL_get_servername(server.ssl(), TLSEXT_NAMETYPE_host_name), "mail.ex.test");
  server.Restart();
  client_ = Client(client_context_, {});
  ASSERT_TRUE(Shake(client_.get(), &server).ok());
  EXPECT_EQ(SSL_get_servername(server.ssl(), TLSEXT_NAMETYPE_host_name), nullptr);
}

// --- What the log lines say. ---

TEST_F(EngineTest, InfoOfAnRsaServerUnderTls13) {
  RawServer server(Issue({.key = "RSA2048"}, &ca_));
  const Info info = Meet(&server, Matching("mail.ex.test"));
  EXPECT_EQ(info.protocol, "TLSv1.3");
  EXPECT_EQ(info.cipher, "TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(info.cipher_bits_used, 256);
  EXPECT_EQ(info.cipher_bits, 256);
  EXPECT_EQ(info.key_exchange, "X25519");
  EXPECT_EQ(info.server_signature, "RSA-PSS (2048 bits)");
  EXPECT_EQ(info.server_digest, "SHA256");
  EXPECT_FALSE(info.resumed);
}

TEST_F(EngineTest, InfoOfOtherKeysAndGroups) {
  RawServer ec(Issue({}, &ca_), {}, [](SSL_CTX* ctx) { SSL_CTX_set1_groups_list(ctx, "P-256"); });
  const Info info = Meet(&ec, {});
  EXPECT_EQ(info.key_exchange, "ECDHE (prime256v1)");
  EXPECT_EQ(info.server_signature, "ECDSA (prime256v1)");
  EXPECT_EQ(info.server_digest, "SHA256");
  RawServer edwards(Issue({.key = "ED25519"}, &ca_));
  const Info edwards_info = Meet(&edwards, {});
  EXPECT_EQ(edwards_info.server_signature, "ED25519");
  EXPECT_EQ(edwards_info.server_digest, "");
  RawServer dhe(Issue({}, &ca_), {},
                [](SSL_CTX* ctx) { SSL_CTX_set1_groups_list(ctx, "ffdhe2048"); });
  EXPECT_EQ(Meet(&dhe, {}).key_exchange, "DHE (2048 bits)");
}

TEST_F(EngineTest, InfoBelowTls13SaysNoMoreThanTheCipher) {
  RawServer server(Issue({}, &ca_), {},
                   [](SSL_CTX* ctx) { SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); });
  const Info info = Meet(&server, {});
  EXPECT_EQ(info.protocol, "TLSv1.2");
  EXPECT_EQ(info.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
  EXPECT_EQ(info.key_exchange, "");
  EXPECT_EQ(info.server_signature, "");
}

TEST_F(EngineTest, InfoOfTheServersSide) {
  Connect();
  EXPECT_EQ(server_->info().protocol, "TLSv1.3");
  EXPECT_EQ(server_->info().server_signature, "ECDSA (prime256v1)");
  EXPECT_FALSE(server_->info().peer_certificate);
}

// --- Sessions. ---

class SessionTest : public TlsTest, public testing::WithParamInterface<const char*> {
 protected:
  // A session got from `server` under `context`.
  SessionPtr Get(RawServer* server, const ContextPtr& context) {
    std::unique_ptr<Engine> client = Client(context, Matching("mail.ex.test"));
    EXPECT_TRUE(Shake(client.get(), server).ok());
    SessionPtr session = client->TakeSession();
    server->Restart();
    return session;
  }
  ContextPtr With(const Identity& anchor) {
    ClientContextOptions options;
    options.ca_file = dir_.Write("anchor.pem", Pem(anchor.certificate.get()));
    options.protocols = GetParam();
    return ClientContext(options);
  }
  ContextPtr TrustingNobody() {
    ClientContextOptions options;
    options.protocols = GetParam();
    return ClientContext(options);
  }
  Info Resume(RawServer* server, const ContextPtr& context, SessionPtr session,
              const std::string& name) {
    ClientEngineOptions options = Matching(name);
    options.resume = std::move(session);
    return Meet(server, options, context);
  }
};

TEST_P(SessionTest, ResumesAndJudgesAgain) {
  RawServer server(Issue({}, &ca_));
  const ContextPtr context = With(ca_);
  const SessionPtr session = Get(&server, context);
  ASSERT_NE(session, nullptr);
  const Info info = Resume(&server, context, session, "mail.ex.test");
  EXPECT_TRUE(info.resumed);
  EXPECT_TRUE(info.verified()) << info.verify_problem;
  EXPECT_EQ(info.subject_cn, "mail.ex.test");
  EXPECT_EQ(info.server_digest, "");
}

TEST_P(SessionTest, T18ASessionOfALaxPolicyIsNotTrustedUnderAStrictOne) {
  const Identity stranger = MakeCa("Stranger");
  RawServer server(Issue({}, &stranger));
  const SessionPtr session = Get(&server, TrustingNobody());
  const Info info = Resume(&server, With(ca_), session, "mail.ex.test");
  EXPECT_TRUE(info.resumed);
  EXPECT_FALSE(info.chain_trusted);
}

TEST_P(SessionTest, T19ASessionOfOneNameDoesNotVouchForAnother) {
  RawServer server(Issue({}, &ca_));
  const ContextPtr context = With(ca_);
  const SessionPtr session = Get(&server, context);
  const Info info = Resume(&server, context, session, "other.ex.test");
  EXPECT_TRUE(info.resumed);
  EXPECT_TRUE(info.chain_trusted);
  EXPECT_FALSE(info.name_matched);
  EXPECT_FALSE(info.verified());
}

TEST_P(SessionTest, T20ASessionDoesNotOutliveItsTrustAnchor) {
  const Identity middle = MakeCa("Middle", &ca_);
  RawServer server(Issue({}, &middle), {middle});
  const SessionPtr session = Get(&server, With(ca_));
  EXPECT_TRUE(Resume(&server, With(ca_), session, "mail.ex.test").verified())
      << "the intermediate is remembered";
  server.Restart();
  const Identity other = MakeCa("Other");
  const SessionPtr second = Get(&server, With(ca_));
  const Info info = Resume(&server, With(other), second, "mail.ex.test");
  EXPECT_TRUE(info.resumed);
  EXPECT_FALSE(info.chain_trusted);
}

TEST_P(SessionTest, S12ATicketOfOneListenerIsWorthlessAtAnother) {
  const ContextPtr first = *MakeSelfSignedServerContext("mail.ex.test");
  const ContextPtr second = *MakeSelfSignedServerContext("mail.ex.test");
  const ContextPtr context = TrustingNobody();
  const auto meet = [&](const ContextPtr& server_context, SessionPtr* session) {
    ClientEngineOptions options;
    options.resume = *session;
    std::unique_ptr<Engine> client = Client(context, options);
    std::unique_ptr<Engine> server = Server(server_context);
    EXPECT_TRUE(Shake(client.get(), server.get()).ok());
    *session = client->TakeSession();
    return client->info().resumed;
  };
  SessionPtr session;
  EXPECT_FALSE(meet(first, &session));
  ASSERT_NE(session, nullptr);
  SessionPtr same = session;
  EXPECT_TRUE(meet(first, &same));
  EXPECT_FALSE(meet(second, &session));
}

INSTANTIATE_TEST_SUITE_P(Versions, SessionTest, testing::Values("TLSv1.2", "TLSv1.3"),
                         [](const auto& info) {
                           return std::string(info.param) == "TLSv1.2" ? "Tls12" : "Tls13";
                         });

TEST_F(EngineTest, S13ServersRefuseRenegotiation) {
  server_ = Server(server_context_);
  // A TLS 1.2 client that asks for it, straight on OpenSSL.
  SSL_CTX* ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
  SSL* client = SSL_new(ctx);
  SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(client);
  const auto client_step = [&] {
    ERR_clear_error();
    const int result = SSL_do_handshake(client);
    char octets[8192];
    int size = 0;
    while ((size = BIO_read(SSL_get_wbio(client), octets, sizeof octets)) > 0) {
      server_->Receive({octets, static_cast<size_t>(size)});
    }
    return result;
  };
  const auto server_sends = [&] {
    const std::string records = Take(server_.get());
    BIO_write(SSL_get_rbio(client), records.data(), static_cast<int>(records.size()));
    return records.size();
  };
  for (int flight = 0; flight < 3; ++flight) {
    client_step();
    ASSERT_TRUE(server_->Handshake().ok());
    server_sends();
  }
  ASSERT_EQ(client_step(), 1);
  ASSERT_EQ(SSL_renegotiate(client), 1);
  EXPECT_NE(client_step(), 1);
  EXPECT_EQ(ReadAll(server_.get()), "");
  EXPECT_LT(server_sends(), 64U) << "an alert, not a ServerHello with its certificate";
  EXPECT_NE(client_step(), 1);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
  SSL_free(client);
  SSL_CTX_free(ctx);
}

TEST_F(EngineTest, SeveralTicketsAreKeptEachTakenOnce) {
  Connect();
  EXPECT_NE(client_->TakeSession(), nullptr);
  EXPECT_NE(client_->TakeSession(), nullptr);
  EXPECT_EQ(client_->TakeSession(), nullptr);
  EXPECT_EQ(server_->TakeSession(), nullptr);
}

TEST_F(EngineTest, TicketsBeyondTheLimitPushOutTheOldest) {
  RawServer server(Issue({}, &ca_), {}, [](SSL_CTX* ctx) { SSL_CTX_set_num_tickets(ctx, 50); });
  client_ = Client(client_context_, {});
  ASSERT_TRUE(Shake(client_.get(), &server).ok());
  int sessions = 0;
  while (client_->TakeSession() != nullptr) ++sessions;
  EXPECT_EQ(sessions, 4);
}

TEST_F(EngineTest, ASessionExpiredWithItsCertificateIsNotTrusted) {
  RawServer server(Issue({.not_before = absl::Hours(-48), .not_after = absl::Hours(-24)}, &ca_));
  client_ = Client(Trusting(), Matching("mail.ex.test"));
  ASSERT_TRUE(Shake(client_.get(), &server).ok());
  ClientEngineOptions options = Matching("mail.ex.test");
  options.resume = client_->TakeSession();
  server.Restart();
  const Info info = Meet(&server, options);
  EXPECT_TRUE(info.resumed);
  EXPECT_EQ(info.verify_problem, "certificate has expired");
}

TEST_F(EngineTest, ATls13SessionServesOnce) {
  Connect();
  ClientEngineOptions options = Matching("mail.ex.test");
  options.resume = client_->TakeSession();
  for (const bool resumes : {true, false}) {
    client_ = Client(client_context_, options);
    server_ = Server(server_context_);
    ASSERT_TRUE(Shake(client_.get(), server_.get()).ok());
    EXPECT_EQ(client_->info().resumed, resumes);
    EXPECT_TRUE(client_->info().verified());
  }
}

// --- Channel binding. ---

TEST_F(EngineTest, ChannelBindingIsTheSameOnBothSidesAndNewEachTime) {
  for (const std::string protocol : {"TLSv1.3", "TLSv1.2"}) {
    const bool old = protocol == "TLSv1.2";
    client_context_ = ClientContext({.protocols = protocol});
    SessionPtr session;
    std::string last;
    for (int connection = 0; connection < 3; ++connection) {
      ClientEngineOptions options;
      options.resume = session;
      client_ = Client(client_context_, options);
      server_ = Server(server_context_);
      EXPECT_EQ(client_->ChannelBinding(), "");
      ASSERT_TRUE(Shake(client_.get(), server_.get()).ok());
      EXPECT_EQ(client_->info().resumed, connection > 0);
      const std::string binding = client_->ChannelBinding();
      EXPECT_THAT(binding, testing::StartsWith(old ? "tls-unique:" : "tls-exporter:"));
      EXPECT_EQ(binding.size(), old ? 11U + 12U : 13U + 32U);
      EXPECT_EQ(binding, server_->ChannelBinding());
      EXPECT_NE(binding, last);
      last = binding;
      SessionPtr fresh = client_->TakeSession();
      if (fresh != nullptr) session = fresh;
    }
  }
}

}  // namespace
}  // namespace mailrace::transport::tls
