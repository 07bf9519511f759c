// TLS without secrets: a hello line each way, then octets as they are. Lets dialogues
// show what is said inside and outside of TLS.
#pragma once

#include <memory>
#include <string>

#include "transport/tls/engine.h"

namespace mailrace::transport::smtp {

class FakeTlsEngine final : public tls::Engine {
 public:
  static constexpr std::string_view kClientHello = "<client hello>\r\n";
  static constexpr std::string_view kServerHello = "<server hello>\r\n";

  void Receive(std::string_view records) override { received_ += records; }
  void TakeRecords(Buffer* out) override {
    out->Append(to_send_);
    to_send_.clear();
  }
  absl::StatusOr<Step> Handshake() override {
    if (!said_hello_) to_send_ += kClientHello;
    said_hello_ = true;
    const size_t n = std::min(received_.size(), kServerHello.size());
    if (received_.compare(0, n, kServerHello, 0, n) != 0) {
      return absl::InvalidArgumentError("wrong version number");
    }
    if (n < kServerHello.size()) return Step::kNeedsRecords;
    received_.erase(0, n);
    return Step::kDone;
  }
  absl::Status Write(std::string_view plaintext) override {
    to_send_ += plaintext;
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Read(Buffer* into) override {
    into->Append(received_);
    received_.clear();
    return true;
  }
  void Close() override { to_send_ += "<close_notify>\r\n"; }
  const tls::Info& info() const override { return info_; }
  tls::SessionPtr TakeSession() override { return nullptr; }
  std::string ChannelBinding() const override { return ""; }

 private:
  std::string received_;
  std::string to_send_;
  bool said_hello_ = false;
  tls::Info info_;
};

}  // namespace mailrace::transport::smtp
