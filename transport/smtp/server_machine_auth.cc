// AUTH (RFC 4954), as far as it is SMTP: the exchange itself is the driver's.

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"
#include "transport/smtp/base64.h"
#include "transport/smtp/server_machine.h"

namespace mailrace::transport::smtp {

namespace {
// A client does not learn a password by trying, nor does a wrong one become right.
constexpr size_t kAuthFailuresMax = 3;
constexpr std::string_view kBadBase64 = "501 5.5.2 Error: invalid base64 data";
}  // namespace

void ServerMachine::Auth(const CommandLine& command, std::string_view* input) {
  if (auth_needs_tls()) {
    return Reject("538 5.7.11 Encryption required for requested authentication mechanism");
  }
  if (!auth_offered()) return Reject("503 5.5.1 Error: authentication not enabled");
  if (!esmtp_) return Reject("503 5.5.1 Error: send EHLO first");
  if (authenticated_) return Reject("503 5.5.1 Error: already authenticated");
  if (in_mail_) return Reject("503 5.5.1 Error: MAIL transaction in progress");
  const size_t space = command.argument.find(' ');
  const std::string_view mechanism = command.argument.substr(0, space);
  const std::string_view initial =
      space == std::string_view::npos ? std::string_view() : Trim(command.argument.substr(space));
  if (mechanism.empty() || initial.find(' ') != std::string_view::npos) {
    return Reject("501 5.5.4 Syntax: AUTH mechanism");
  }
  if (options_->forbid_unauth_pipelining && !NothingBehind(input)) return;
  auth_mechanism_ = AsciiUppered(mechanism);
  const std::vector<std::string>& offered = AuthMechanisms();
  if (std::find(offered.begin(), offered.end(), auth_mechanism_) == offered.end()) {
    return Reject("504 5.5.4 Error: unrecognized authentication mechanism");
  }
  // "=" is an initial response without octets.
  std::optional<std::string> response = initial == "=" ? std::string() : DecodeBase64(initial);
  if (!response) return Reject(kBadBase64);
  auth_response_ = *std::move(response);
  event_ = Event::kAuth;
}

ServerMachine::Outcome ServerMachine::NextAuthResponse(std::string_view* input) {
  std::string_view line;
  // A line that is refused, for its length or its end, ends the exchange.
  const Outcome outcome = TakeLine(input, &line);
  if (outcome != Outcome::kGoOn) return outcome;
  mode_ = Mode::kCommand;
  if (options_->forbid_unauth_pipelining && !NothingBehind(input)) return Happened();
  if (line == "*") {
    Reject("501 5.7.0 Authentication aborted");
    return Happened();
  }
  std::optional<std::string> response = DecodeBase64(line);
  if (!response) {
    Reject(kBadBase64);
    return Happened();
  }
  auth_response_ = *std::move(response);
  event_ = Event::kAuthResponse;
  return Happened();
}

void ServerMachine::AuthChallenge(std::string_view challenge) {
  Reply(fmt::format("334 {}", EncodeBase64(challenge)));
  mode_ = Mode::kAuth;
}

void ServerMachine::AuthSucceeded() {
  authenticated_ = true;
  auth_failures_ = 0;
  Reply("235 2.7.0 Authentication successful");
}

void ServerMachine::AuthFailed() {
  Reject("535 5.7.8 Error: authentication failed");
  event_ = Event::kNeedsInput;  // The driver knows.
  if (++auth_failures_ < kAuthFailuresMax) return;
  Reply(fmt::format("421 4.7.0 {} Error: too many errors", options_->hostname));
  mode_ = Mode::kClosed;
}

}  // namespace mailrace::transport::smtp
