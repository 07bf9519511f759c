#include "transport/smtp/auth_exchange.h"

#include <utility>

#include "fmt/format.h"
#include "transport/smtp/base64.h"
#include "transport/smtp/command_writer.h"

namespace mailrace::transport::smtp {

namespace {

constexpr int kAuthenticated = 235;
constexpr int kChallenge = 334;

std::string Reason(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

AuthExchange::State AuthExchange::Begin(Buffer* out) {
  std::string argument = mechanism_;
  if (client_->client_first()) {
    const absl::StatusOr<std::string> response = client_->Step("");
    if (!response.ok()) {
      return Fail({Failure::Kind::kSasl, Step::kAuth, std::nullopt,
                   CannotAuthenticate(Reason(response.status()))});
    }
    std::string text = response->empty() ? "=" : EncodeBase64(*response);
    // "AUTH" SP name SP response CRLF.
    if (mechanism_.size() + text.size() + 8 <= kCommandOctetsMax) {
      argument += " " + text;
    } else {
      initial_response_ = std::move(text);
    }
  }
  WriteCommand("AUTH", argument, out);
  return State::kReadReply;
}

AuthExchange::State AuthExchange::Answer(const Reply& reply, Buffer* out) {
  if (cancelled_) return State::kFailed;
  if (reply.code == kChallenge) return AnswerChallenge(reply, out);
  if (reply.code == kAuthenticated) {
    if (client_->complete()) return State::kSucceeded;
    // Anyone can say 235; a mechanism with mutual authentication wants proof.
    return Fail({Failure::Kind::kSasl, Step::kAuth, std::nullopt,
                 CannotAuthenticate("success reply before the mechanism was complete")});
  }
  if (reply.transient() || reply.permanent()) {
    return Fail({Failure::Kind::kReply, Step::kAuth, reply});
  }
  return Fail({Failure::Kind::kProtocol, Step::kAuth, reply,
               fmt::format("unexpected reply to AUTH: {}", reply.code)});
}

namespace {

std::optional<std::string> ChallengeOf(const Reply& reply) {
  const bool one =
      reply.lines.size() == 1 && reply.lines[0].size() <= AuthExchange::kChallengeOctetsMax;
  return one ? DecodeBase64(reply.lines[0]) : std::nullopt;
}

}  // namespace

std::string AuthExchange::SaltingKey(const Reply& reply) const {
  if (cancelled_ || initial_response_ || reply.code != kChallenge) return "";
  const std::optional<std::string> challenge = ChallengeOf(reply);
  return challenge ? client_->SaltingKey(*challenge) : std::string();
}

AuthExchange::State AuthExchange::AnswerChallenge(const Reply& reply, Buffer* out) {
  if (++rounds_ > kRoundsMax) {
    return Cancel(fmt::format("SASL authentication failed; authentication protocol loop with "
                              "server {}",
                              server_),
                  out);
  }
  if (initial_response_) {
    // The server invites it with an empty challenge; some add words.
    WriteCommand(*initial_response_, "", out);
    initial_response_.reset();
    return State::kReadReply;
  }
  const std::optional<std::string> challenge = ChallengeOf(reply);
  if (!challenge) return Cancel(CannotAuthenticate("malformed challenge"), out);
  const absl::StatusOr<std::string> response = client_->Step(*challenge);
  if (!response.ok()) return Cancel(CannotAuthenticate(Reason(response.status())), out);
  WriteCommand(EncodeBase64(*response), "", out);
  return State::kReadReply;
}

AuthExchange::State AuthExchange::Cancel(std::string text, Buffer* out) {
  cancelled_ = true;
  failure_ = Failure{Failure::Kind::kSasl, Step::kAuth, std::nullopt, std::move(text)};
  WriteCommand("*", "", out);
  return State::kReadReply;
}

AuthExchange::State AuthExchange::Fail(Failure failure) {
  failure_ = std::move(failure);
  return State::kFailed;
}

std::string AuthExchange::CannotAuthenticate(std::string_view reason) const {
  return fmt::format("SASL authentication failed; cannot authenticate to server {}: {}", server_,
                     reason);
}

}  // namespace mailrace::transport::smtp
