// One AUTH exchange (RFC 4954 4) between the dialogue and a SASL mechanism, sans I/O.
// What it writes and reads is secret: it goes to the wire and nowhere else.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/buffer.h"
#include "transport/sasl/client.h"
#include "transport/smtp/reply.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

class AuthExchange {
 public:
  static constexpr size_t kCommandOctetsMax = 512;      // "AUTH NAME response" and CRLF.
  static constexpr size_t kChallengeOctetsMax = 12288;  // In base64 (RFC 4954 4).
  static constexpr int kRoundsMax = 100;

  // `client` is borrowed. `server` is the peer as log lines name it, "host[address]".
  AuthExchange(std::string mechanism, std::string server, sasl::Client* client)
      : mechanism_(std::move(mechanism)), server_(std::move(server)), client_(client) {}

  enum class State { kReadReply, kSucceeded, kFailed };
  // Appends the AUTH command to *out, with the initial response if it fits.
  State Begin(Buffer* out);
  // Takes a reply; appends the answer to *out if the state is kReadReply.
  State Answer(const Reply& reply, Buffer* out);
  // What answering this reply would have to salt, or empty (sasl::Client::SaltingKey).
  std::string SaltingKey(const Reply& reply) const;
  // After kFailed.
  const Failure& failure() const { return *failure_; }

 private:
  State AnswerChallenge(const Reply& reply, Buffer* out);
  // RFC 4954 4: what the client cannot answer it cancels with "*", and reads the 501.
  State Cancel(std::string text, Buffer* out);
  State Fail(Failure failure);
  std::string CannotAuthenticate(std::string_view reason) const;

  const std::string mechanism_;
  const std::string server_;
  sasl::Client* const client_;
  std::optional<std::string> initial_response_;  // Too long for the command; base64.
  int rounds_ = 0;
  bool cancelled_ = false;
  std::optional<Failure> failure_;
};

}  // namespace mailrace::transport::smtp
