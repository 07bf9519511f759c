// Logins of one submission session: the SASL exchange between ServerMachine and the table
// of passwords. Lives in the session.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/intake/intake_options.h"
#include "transport/sasl/client.h"

namespace mailrace::engine {

class SubmissionAuth {
 public:
  // `options` is borrowed.
  explicit SubmissionAuth(const IntakeOptions* options) : options_(options) {}

  using Outcome = transport::sasl::Server::Outcome;
  // A new exchange; `mechanism` is one that the options name.
  Outcome Begin(std::string_view mechanism, std::string_view initial_response);
  Outcome Continue(std::string_view response);
  // STARTTLS: whoever logged in before it is nobody again (RFC 3207 4.2).
  void Forget();

  // Who logged in, and by which mechanism; empty: nobody.
  const std::string& user() const { return user_; }
  const std::string& mechanism() const { return mechanism_; }
  // The name that the last exchange was about, whatever came of it.
  const std::string& claimed_user() const { return claimed_user_; }

 private:
  const IntakeOptions* const options_;
  std::unique_ptr<transport::sasl::Server> exchange_;
  std::string mechanism_;
  std::string user_;
  std::string claimed_user_;
};

}  // namespace mailrace::engine
