#include "transport/stream.h"

#include <utility>

namespace mailrace::transport {

namespace {

// What an idle stream keeps of each buffer: a large body must not stay charged to a
// pooled session.
constexpr size_t kIdleBufferOctetsMax = 16 * 1024;

}  // namespace

Stream::Stream(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}

Stream::~Stream() = default;

Task<absl::StatusOr<bool>> Stream::Fill(MonoTime deadline) {
  if (peer_closed_) co_return false;
  if (tls_ == nullptr) {
    input_.Shrink(kIdleBufferOctetsMax);
    absl::StatusOr<size_t> octets = co_await connection_->Read(&input_, deadline);
    if (!octets.ok()) co_return octets.status();
    peer_closed_ = *octets == 0;
    co_return !peer_closed_;
  }
  const size_t before = input_.size();
  while (true) {
    // Records may be waiting already: data can arrive with the end of the handshake.
    const absl::StatusOr<bool> open = tls_->Read(&input_);
    tls_->TakeRecords(&cipher_out_);
    const absl::Status sent = co_await SendRecords(deadline);
    if (!open.ok()) {
      peer_closed_ = true;
      co_return open.status();
    }
    if (!*open) peer_closed_ = true;
    // A failure to send waits for the next Flush: what the peer said comes first.
    if (input_.size() > before) co_return true;
    if (peer_closed_) co_return false;
    if (!sent.ok()) co_return sent;
    absl::StatusOr<size_t> octets = co_await connection_->Read(&cipher_in_, deadline);
    if (!octets.ok()) co_return octets.status();
    if (*octets == 0) {
      peer_closed_ = true;
      co_return false;
    }
    tls_->Receive(cipher_in_.view());
    cipher_in_.Clear();
  }
}

Task<absl::Status> Stream::Flush(MonoTime deadline) {
  if (!write_status_.ok()) {
    output_.Clear();
    co_return write_status_;
  }
  if (output_.empty()) co_return absl::OkStatus();
  if (tls_ == nullptr) {
    // An unfinished write leaves the peer in the middle of a command: nothing may
    // follow it.
    write_status_ = co_await connection_->Write(output_.view(), deadline);
  } else {
    const absl::Status encrypted = tls_->Write(output_.view());
    tls_->TakeRecords(&cipher_out_);
    const absl::Status sent = co_await SendRecords(deadline);
    write_status_ = encrypted.ok() ? sent : encrypted;
  }
  output_.Clear();
  output_.Shrink(kIdleBufferOctetsMax);
  co_return write_status_;
}

Task<absl::Status> Stream::StartTls(std::unique_ptr<tls::Engine> engine, MonoTime deadline) {
  if (!input_.empty()) {
    const absl::Status injected = absl::InvalidArgumentError("plaintext was sent ahead of TLS");
    Poison(injected);
    co_return injected;
  }
  while (true) {
    const absl::StatusOr<tls::Engine::Step> step = engine->Handshake();
    engine->TakeRecords(&cipher_out_);
    const absl::Status sent = co_await SendRecords(deadline);
    if (!step.ok()) {
      Poison(step.status());
      co_return step.status();
    }
    if (!sent.ok()) {
      Poison(sent);
      co_return sent;
    }
    if (*step == tls::Engine::Step::kDone) break;
    absl::StatusOr<size_t> octets = co_await connection_->Read(&cipher_in_, deadline);
    if (octets.ok() && *octets == 0) {
      octets = absl::UnavailableError("the peer closed the connection during the TLS handshake");
    }
    if (!octets.ok()) {
      Poison(octets.status());
      co_return octets.status();
    }
    engine->Receive(cipher_in_.view());
    cipher_in_.Clear();
  }
  tls_ = std::move(engine);
  co_return absl::OkStatus();
}

Task<void> Stream::Shutdown(MonoTime deadline) {
  if (tls_ == nullptr || !write_status_.ok()) co_return;
  tls_->Close();
  tls_->TakeRecords(&cipher_out_);
  // The peer may be gone already; nobody waits for its close_notify either.
  const absl::Status ignored = co_await SendRecords(deadline);
  write_status_ =
      ignored.ok() ? absl::FailedPreconditionError("the stream was shut down") : ignored;
}

Task<absl::Status> Stream::SendRecords(MonoTime deadline) {
  if (write_status_.ok() && !cipher_out_.empty()) {
    write_status_ = co_await connection_->Write(cipher_out_.view(), deadline);
  }
  cipher_out_.Clear();
  cipher_out_.Shrink(kIdleBufferOctetsMax);
  co_return write_status_;
}

void Stream::Poison(const absl::Status& why) {
  write_status_ = why;
  peer_closed_ = true;
}

}  // namespace mailrace::transport
