#include "engine/intake/submission_auth.h"

#include <optional>
#include <utility>

namespace mailrace::engine {

using State = SubmissionAuth::Outcome::State;

SubmissionAuth::Outcome SubmissionAuth::Begin(std::string_view mechanism,
                                              std::string_view initial_response) {
  const auto password_of = [this](std::string_view user) -> std::optional<std::string> {
    claimed_user_ = user;
    if (options_->passwords == nullptr) return std::nullopt;
    absl::StatusOr<std::optional<tables::TableHit>> hit = options_->passwords->Lookup(user);
    if (!hit.ok() || !hit->has_value()) return std::nullopt;
    return std::move((*hit)->value);
  };
  user_.clear();
  claimed_user_.clear();
  mechanism_ = mechanism;
  auto exchange = transport::sasl::Server::Start(mechanism, options_->myhostname, password_of);
  if (!exchange.ok()) return {State::kFailure, ""};
  exchange_ = *std::move(exchange);
  return Continue(initial_response);
}

SubmissionAuth::Outcome SubmissionAuth::Continue(std::string_view response) {
  if (exchange_ == nullptr) return {State::kFailure, ""};
  Outcome outcome = exchange_->Step(response);
  if (outcome.state == State::kChallenge) return outcome;
  if (outcome.state == State::kSuccess) user_ = exchange_->user();
  exchange_.reset();
  return outcome;
}

void SubmissionAuth::Forget() {
  exchange_.reset();
  user_.clear();
  mechanism_.clear();
}

}  // namespace mailrace::engine
