#include "transport/tls/engine.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "fmt/format.h"
#include "transport/tls/certificate.h"
#include "transport/tls/info.h"
#include "transport/tls/openssl.h"
#include "transport/tls/record_bio.h"
#include "transport/tls/session.h"

namespace mailrace::transport::tls {
namespace {

// More than the largest flight of a handshake and several records of data: reached only
// by an owner that receives without reading, or a peer that never ends its handshake.
constexpr size_t kReceivedOctetsMax = 512 * 1024;
// Idle engines keep no more than this in each direction.
constexpr size_t kBufferKeepOctets = 8 * 1024;
constexpr size_t kRecordPlaintextMax = 16 * 1024;
// A server sends two tickets; the owner takes them between transactions.
constexpr size_t kSessionsMax = 4;

class OpensslEngine final : public Engine {
 public:
  OpensslEngine(std::shared_ptr<const OpensslContext> context, NameCheck check)
      : context_(std::move(context)), check_(std::move(check)) {}
  // Freed without close_notify the library would spoil the session that the owner keeps,
  // as TLS 1.0 asked; since TLS 1.1 it need not (RFC 4346 7.2.1), and SMTP peers often go
  // without.
  ~OpensslEngine() override {
    if (ssl_ != nullptr) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }

  absl::Status Init(const ClientEngineOptions* client);

  void Receive(std::string_view records) override;
  void TakeRecords(Buffer* out) override;
  absl::StatusOr<Step> Handshake() override;
  absl::Status Write(std::string_view plaintext) override;
  absl::StatusOr<bool> Read(Buffer* into) override;
  void Close() override;
  const Info& info() const override { return info_; }
  SessionPtr TakeSession() override;
  std::string ChannelBinding() const override;

  void AddSession(SslSessionPtr session) {
    if (sessions_.size() == kSessionsMax) sessions_.pop_front();
    sessions_.push_back(std::make_shared<Session>(std::move(session)));
  }

 private:
  // Remembers the error: a TLS connection does not recover from one.
  absl::Status Fail(int result, std::string_view doing);

  std::shared_ptr<const OpensslContext> context_;
  NameCheck check_;
  RecordBuffers buffers_;
  SslPtr ssl_;  // After what it points at: freed first.
  Info info_;
  std::deque<SessionPtr> sessions_;
  absl::Status failed_;
  bool shaken_ = false;
  bool peer_closed_ = false;
};

int OnNewSession(SSL* ssl, SSL_SESSION* session) {
  SslSessionPtr owned(session);
  // The engine that received it; null in a server, which keeps its state in tickets.
  auto* engine = static_cast<OpensslEngine*>(SSL_get_app_data(ssl));
  if (engine != nullptr && SSL_SESSION_is_resumable(session) == 1) {
    engine->AddSession(std::move(owned));
  }
  return 1;
}

absl::Status OpensslEngine::Init(const ClientEngineOptions* client) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context_->get()));
  BioPtr bio = MakeRecordBio(&buffers_);
  if (ssl_ == nullptr || bio == nullptr) {
    return absl::ResourceExhaustedError(TakeReason("cannot make a TLS connection"));
  }
  BIO* both = bio.release();
  SSL_set_bio(ssl_.get(), both, both);
  if (client == nullptr) {
    SSL_set_accept_state(ssl_.get());
    return absl::OkStatus();
  }
  SSL_set_connect_state(ssl_.get());
  SSL_set_app_data(ssl_.get(), this);
  const std::string& name = client->server_name;
  if (!name.empty() && SSL_set_tlsext_host_name(ssl_.get(), name.c_str()) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("server name '{}': {}", name, TakeReason("not accepted")));
  }
  // A session that this context cannot use (other protocol, expired) is not offered:
  // the handshake is a full one.
  if (client->resume != nullptr) {
    SSL_set_session(ssl_.get(), client->resume->get());
    ERR_clear_error();
  }
  return absl::OkStatus();
}

absl::Status OpensslEngine::Fail(int result, std::string_view doing) {
  const int kind = SSL_get_error(ssl_.get(), result);
  failed_ = absl::InvalidArgumentError(fmt::format("{}: {}", doing,
                                                   kind == SSL_ERROR_SYSCALL
                                                       ? TakeReason("lost connection")
                                                       : TakeReason("unknown TLS library error")));
  return failed_;
}

void OpensslEngine::Receive(std::string_view records) {
  if (!failed_.ok() || peer_closed_) return;
  if (records.size() > kReceivedOctetsMax - buffers_.received.size()) {
    failed_ = absl::ResourceExhaustedError(
        fmt::format("more than {} octets of TLS records unread", kReceivedOctetsMax));
    return;
  }
  buffers_.received.Append(records);
}

void OpensslEngine::TakeRecords(Buffer* out) {
  if (out->empty()) {
    std::swap(*out, buffers_.to_send);
  } else {
    out->Append(buffers_.to_send.view());
    buffers_.to_send.Clear();
  }
  buffers_.to_send.Shrink(kBufferKeepOctets);
}

absl::StatusOr<Engine::Step> OpensslEngine::Handshake() {
  if (!failed_.ok()) return failed_;
  if (shaken_) return Step::kDone;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) {
    const int kind = SSL_get_error(ssl_.get(), result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return Step::kNeedsRecords;
    return Fail(result, "TLS handshake");
  }
  shaken_ = true;
  info_ = context_->server() ? ServerInfo(ssl_.get()) : ClientInfo(*context_, ssl_.get(), check_);
  return Step::kDone;
}

absl::Status OpensslEngine::Write(std::string_view plaintext) {
  if (!failed_.ok()) return failed_;
  if (!shaken_) return absl::FailedPreconditionError("TLS handshake is not finished");
  if (plaintext.empty()) return absl::OkStatus();
  ERR_clear_error();
  size_t written = 0;
  // The BIO takes everything, so all of it is written or the connection is broken.
  const int result = SSL_write_ex(ssl_.get(), plaintext.data(), plaintext.size(), &written);
  if (result != 1) return Fail(result, "TLS write");
  return absl::OkStatus();
}

absl::StatusOr<bool> OpensslEngine::Read(Buffer* into) {
  if (!failed_.ok()) return failed_;
  if (!shaken_) return absl::FailedPreconditionError("TLS handshake is not finished");
  ERR_clear_error();
  // An idle connection needs no room in *into to learn that nothing came.
  while (!peer_closed_ && (!buffers_.received.empty() || SSL_has_pending(ssl_.get()) == 1)) {
    size_t read = 0;
    const int result =
        SSL_read_ex(ssl_.get(), into->Prepare(kRecordPlaintextMax), kRecordPlaintextMax, &read);
    if (result == 1) {
      into->Commit(read);
      continue;
    }
    const int kind = SSL_get_error(ssl_.get(), result);
    if (kind == SSL_ERROR_WANT_READ) break;
    if (kind != SSL_ERROR_ZERO_RETURN) return Fail(result, "TLS read");
    // What follows close_notify is not TLS and is never looked at (S-10).
    peer_closed_ = true;
    buffers_.received.Clear();
  }
  buffers_.received.Shrink(kBufferKeepOctets);
  return !peer_closed_;
}

void OpensslEngine::Close() {
  if (!shaken_ || !failed_.ok()) return;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

SessionPtr OpensslEngine::TakeSession() {
  if (sessions_.empty()) return nullptr;
  SessionPtr session = std::move(sessions_.front());
  sessions_.pop_front();
  return session;
}

std::string OpensslEngine::ChannelBinding() const {
  if (!shaken_) return "";
  if (SSL_version(ssl_.get()) >= TLS1_3_VERSION) {
    static constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";  // RFC 9266 2.
    unsigned char octets[32];
    // An empty context, which is not the same as none.
    if (SSL_export_keying_material(ssl_.get(), octets, sizeof octets, kLabel.data(), kLabel.size(),
                                   octets, 0, 1) != 1) {
      ERR_clear_error();
      return "";
    }
    return "tls-exporter:" + std::string(reinterpret_cast<char*>(octets), sizeof octets);
  }
  // Without the extended master secret tls-unique binds nothing (RFC 7627 1).
  if (SSL_get_extms_support(ssl_.get()) != 1) return "";
  // The first Finished of the handshake (RFC 5929 3.1): the client's in a full
  // handshake, the server's in a resumed one.
  const bool ours = context_->server() == (SSL_session_reused(ssl_.get()) == 1);
  unsigned char octets[EVP_MAX_MD_SIZE];
  const size_t size = ours ? SSL_get_finished(ssl_.get(), octets, sizeof octets)
                           : SSL_get_peer_finished(ssl_.get(), octets, sizeof octets);
  if (size == 0 || size > sizeof octets) return "";
  return "tls-unique:" + std::string(reinterpret_cast<char*>(octets), size);
}

absl::StatusOr<std::unique_ptr<Engine>> Make(std::shared_ptr<const Context> context,
                                             const ClientEngineOptions* client) {
  auto ours = std::dynamic_pointer_cast<const OpensslContext>(std::move(context));
  if (ours == nullptr || ours->server() == (client != nullptr)) {
    return absl::InvalidArgumentError("a TLS engine needs a context of its own side");
  }
  NameCheck check;
  if (client != nullptr) {
    check = {client->match_names, client->match_ip, client->match_subject_cn};
  }
  auto engine = std::make_unique<OpensslEngine>(std::move(ours), std::move(check));
  absl::Status status = engine->Init(client);
  if (!status.ok()) return status;
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace

void KeepNewSessions(SSL_CTX* ctx) {
  // The owner keys sessions by its DestinationKey; the library must not keep its own.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, OnNewSession);
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Client(std::shared_ptr<const Context> context,
                                                       const ClientEngineOptions& options) {
  return Make(std::move(context), &options);
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Server(std::shared_ptr<const Context> context) {
  return Make(std::move(context), nullptr);
}

}  // namespace mailrace::transport::tls
