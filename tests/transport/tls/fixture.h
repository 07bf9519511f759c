// A client engine against a server, in one thread: the language of the TLS tests.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "gtest/gtest.h"
#include "pki.h"
#include "transport/tls/context.h"
#include "transport/tls/engine.h"

namespace mailrace::transport::tls {

using ContextPtr = std::shared_ptr<const Context>;

// Moves records both ways until both sides are done or stuck. Returns the client's end.
template <typename Server>
absl::Status Shake(Engine* client, Server* server);

inline bool Advance(RawServer* server) { return server->Handshake(); }
inline bool Advance(Engine* server) {
  const absl::StatusOr<Engine::Step> step = server->Handshake();
  return step.ok() && *step == Engine::Step::kDone;
}

template <typename Server>
absl::Status Shake(Engine* client, Server* server) {
  for (int round = 0; round < 20; ++round) {
    const absl::StatusOr<Engine::Step> step = client->Handshake();
    Buffer records;
    client->TakeRecords(&records);
    server->Receive(records.view());
    if (!step.ok()) return step.status();
    const bool server_done = Advance(server);
    records.Clear();
    server->TakeRecords(&records);
    const bool quiet = records.empty();
    client->Receive(records.view());
    if (*step == Engine::Step::kDone && server_done && quiet) {
      // The tickets of TLS 1.3 come behind the handshake.
      Buffer nothing;
      return client->Read(&nothing).status();
    }
  }
  return absl::DeadlineExceededError("the handshake does not end");
}

class TlsTest : public testing::Test {
 protected:
  ContextPtr ClientContext(ClientContextOptions options = {}) const {
    absl::StatusOr<ContextPtr> context = MakeClientContext(options);
    EXPECT_TRUE(context.ok()) << context.status();
    return context.ok() ? *context : nullptr;
  }
  // Trusts the fixture's CA.
  ContextPtr Trusting(const std::string& more_pem = "") const {
    ClientContextOptions options;
    options.ca_file = dir_.Write("ca.pem", Pem(ca_.certificate.get()) + more_pem);
    return ClientContext(options);
  }
  static std::unique_ptr<Engine> Client(ContextPtr context, const ClientEngineOptions& options) {
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Client(std::move(context), options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  static std::unique_ptr<Engine> Server(ContextPtr context) {
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Server(std::move(context));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  static ClientEngineOptions Matching(const std::string& name) {
    ClientEngineOptions options;
    options.match_names = {name};
    return options;
  }
  // What a client that trusts the CA and wants `name` learns about the server.
  Info Meet(RawServer* server, const ClientEngineOptions& options, ContextPtr context = nullptr) {
    std::unique_ptr<Engine> client =
        Client(context == nullptr ? Trusting() : std::move(context), options);
    const absl::Status status = Shake(client.get(), server);
    EXPECT_TRUE(status.ok()) << status;
    return client->info();
  }
  Info MeetCertificate(const CertificateSpec& spec, const std::string& name = "mail.ex.test") {
    RawServer server(Issue(spec, &ca_));
    return Meet(&server, Matching(name));
  }

  TempDir dir_;
  Identity ca_ = MakeCa();
};

}  // namespace mailrace::transport::tls
