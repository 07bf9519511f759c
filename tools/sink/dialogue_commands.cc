// What each command does.
#include <algorithm>

#include "base/address.h"
#include "base/text.h"
#include "fmt/format.h"
#include "tools/sink/command_arguments.h"
#include "tools/sink/dialogue.h"
#include "transport/smtp/base64.h"

namespace mailrace::sink {

using transport::sasl::Server;
using transport::smtp::DecodeBase64;
using transport::smtp::EncodeBase64;

std::vector<std::string> Dialogue::OfferedMechanisms() const {
  if (options_->user.empty() || !Offers("AUTH")) return {};
  if (options_->require_tls && !tls_) return {};
  return options_->mechanisms.empty() ? Server::Mechanisms() : options_->mechanisms;
}

Dialogue::Step Dialogue::Ehlo(std::string_view argument) {
  if (argument.empty()) return Refuse("501 5.5.4 EHLO needs a name");
  greeted_ = true;
  ResetTransaction();
  std::vector<std::string> lines{options_->host_name};
  const auto offer = [&](std::string_view keyword) {
    if (Offers(keyword)) lines.emplace_back(keyword);
  };
  offer("PIPELINING");
  if (Offers("SIZE")) lines.push_back(fmt::format("SIZE {}", options_->message_octets_max));
  if (options_->tls && !tls_) offer("STARTTLS");
  if (const std::vector<std::string> mechanisms = OfferedMechanisms(); !mechanisms.empty()) {
    std::string line = "AUTH";
    for (const std::string& mechanism : mechanisms) line += " " + mechanism;
    lines.push_back(std::move(line));
  }
  offer("ENHANCEDSTATUSCODES");
  offer("8BITMIME");
  offer("DSN");
  offer("SMTPUTF8");
  offer("CHUNKING");
  for (size_t i = 0; i < lines.size(); ++i) {
    Reply(fmt::format("250{}{}", i + 1 == lines.size() ? ' ' : '-', lines[i]));
  }
  return Step::kContinue;
}

Dialogue::Step Dialogue::Helo(std::string_view argument) {
  if (argument.empty()) return Refuse("501 5.5.4 HELO needs a name");
  greeted_ = true;
  ResetTransaction();
  return Reply(fmt::format("250 {}", options_->host_name));
}

Dialogue::Step Dialogue::Starttls(std::string_view argument) {
  if (!options_->tls) return Refuse("502 5.5.1 STARTTLS is not offered");
  if (!argument.empty()) return Refuse("501 5.5.4 STARTTLS has no parameters");
  if (tls_ || !greeted_ || in_transaction_) return Refuse("503 5.5.1 Not now");
  Reply("220 2.0.0 Ready to start TLS");
  return Step::kStartTls;
}

Dialogue::Step Dialogue::Auth(std::string_view argument) {
  const std::vector<std::string> mechanisms = OfferedMechanisms();
  if (mechanisms.empty()) return Refuse("502 5.5.1 AUTH is not offered");
  if (!greeted_ || in_transaction_) return Refuse("503 5.5.1 Not now");
  if (!user_.empty()) return Refuse("503 5.5.1 Already authenticated");
  const std::string_view name = argument.substr(0, argument.find(' '));
  const std::string_view initial = Trim(argument.substr(name.size()));
  if (std::find(mechanisms.begin(), mechanisms.end(), AsciiUppered(name)) == mechanisms.end()) {
    return Refuse("504 5.5.4 Mechanism is not offered");
  }
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(
      name, options_->host_name, [this](std::string_view user) -> std::optional<std::string> {
        if (user != options_->user) return std::nullopt;
        return options_->password;
      });
  if (!server.ok()) return Reply("454 4.7.0 The mechanism does not work here");
  auth_ = *std::move(server);
  if (initial.empty()) return AuthStep("");
  expect_ = Expect::kAuthResponse;
  return OnAuthLine(initial == "=" ? std::string_view() : initial);
}

Dialogue::Step Dialogue::OnAuthLine(std::string_view line) {
  if (line == "*") {
    expect_ = Expect::kCommand;
    counters_->auth_failures.Add();
    return Reply("501 5.7.0 Authentication cancelled");
  }
  if (expect_ == Expect::kAuthEnd) return EndAuth();
  const std::optional<std::string> response = DecodeBase64(line);
  if (!response) {
    expect_ = Expect::kCommand;
    return Refuse("501 5.5.2 That is no base64");
  }
  return AuthStep(*response);
}

Dialogue::Step Dialogue::AuthStep(std::string_view response) {
  const Server::Outcome outcome = auth_->Step(response);
  if (outcome.state == Server::Outcome::State::kFailure) {
    expect_ = Expect::kCommand;
    counters_->auth_failures.Add();
    return Reply("535 5.7.8 Authentication failed");
  }
  if (outcome.state == Server::Outcome::State::kSuccess && outcome.challenge.empty()) {
    return EndAuth();
  }
  // SCRAM's last word travels as a challenge that is answered with nothing (RFC 4954 4).
  const bool over = outcome.state == Server::Outcome::State::kSuccess;
  expect_ = over ? Expect::kAuthEnd : Expect::kAuthResponse;
  return Reply("334 " + EncodeBase64(outcome.challenge));
}

Dialogue::Step Dialogue::EndAuth() {
  expect_ = Expect::kCommand;
  user_ = auth_->user();
  auth_.reset();
  counters_->auth_successes.Add();
  return Reply("235 2.7.0 Authentication successful");
}

std::string_view Dialogue::MailProblem(std::string_view parameters) {
  Parameter parameter;
  while (NextParameter(&parameters, &parameter)) {
    const auto is = [&](std::string_view key) {
      return EqualsIgnoreCase(parameter.key, key) && Offers(key);
    };
    if (is("SIZE")) {
      const std::optional<uint64_t> octets = ParseUint(parameter.value);
      if (!octets) return "501 5.5.4 SIZE needs a number";
      if (*octets > options_->message_octets_max) return "552 5.3.4 Message too large";
    } else if (EqualsIgnoreCase(parameter.key, "BODY") && Offers("8BITMIME")) {
      const bool known = EqualsIgnoreCase(parameter.value, "7BIT") ||
                         EqualsIgnoreCase(parameter.value, "8BITMIME");
      if (!known) return "501 5.5.4 BODY is 7BIT or 8BITMIME";
    } else if (is("SMTPUTF8")) {
      smtputf8_ = true;
    } else if ((EqualsIgnoreCase(parameter.key, "RET") ||
                EqualsIgnoreCase(parameter.key, "ENVID")) &&
               Offers("DSN")) {
      continue;
    } else if (!EqualsIgnoreCase(parameter.key, "AUTH") || options_->user.empty()) {
      return "555 5.5.4 Unsupported parameter";
    }
  }
  return {};
}

Dialogue::Step Dialogue::Mail(std::string_view argument) {
  if (group_ended_message_) counters_->envelopes_behind_content.Add();
  if (!greeted_) return Refuse("503 5.5.1 EHLO first");
  if (options_->require_auth && user_.empty()) {
    return Refuse("530 5.7.0 Authentication required");
  }
  if (in_transaction_) return Refuse("503 5.5.1 Nested MAIL");
  const std::optional<PathArgument> path = ParsePathArgument(argument, "FROM:");
  if (!path) return Refuse("501 5.5.4 Syntax: MAIL FROM:<address>");
  smtputf8_ = false;
  const std::string_view problem = MailProblem(path->parameters);
  if (!problem.empty()) return Refuse(problem);
  if (!smtputf8_ && !IsAscii(path->path)) return Refuse("553 5.6.7 Needs SMTPUTF8");
  in_transaction_ = true;
  reverse_path_ = path->path;
  return Reply("250 2.1.0 Ok");
}

Dialogue::Step Dialogue::Rcpt(std::string_view argument) {
  if (!in_transaction_ || in_chunks_) return Refuse("503 5.5.1 MAIL first");
  const std::optional<PathArgument> path = ParsePathArgument(argument, "TO:");
  if (!path || path->path.empty()) return Refuse("501 5.5.4 Syntax: RCPT TO:<address>");
  std::string_view parameters = path->parameters;
  Parameter parameter;
  while (NextParameter(&parameters, &parameter)) {
    const bool dsn =
        EqualsIgnoreCase(parameter.key, "NOTIFY") || EqualsIgnoreCase(parameter.key, "ORCPT");
    if (!dsn || !Offers("DSN")) return Refuse("555 5.5.4 Unsupported parameter");
  }
  if (!smtputf8_ && !IsAscii(path->path)) return Refuse("553 5.6.7 Needs SMTPUTF8");
  if (recipients_.size() >= options_->recipients_max) return Reply("452 4.5.3 Too many recipients");
  recipients_.emplace_back(path->path);
  return Reply("250 2.1.5 Ok");
}

Dialogue::Step Dialogue::Data(std::string_view) {
  if (!in_transaction_ || in_chunks_) return Refuse("503 5.5.1 MAIL and RCPT first");
  if (recipients_.empty()) return Reply("554 5.5.1 No valid recipients");
  content_.Begin(context_->recorder->wants_content(), options_->message_octets_max);
  expect_ = Expect::kData;
  return Reply("354 End data with <CR><LF>.<CR><LF>");
}

Dialogue::Step Dialogue::Bdat(std::string_view argument) {
  const std::optional<ChunkArgument> chunk = ParseChunkArgument(argument);
  if (!chunk || !Offers("CHUNKING")) {
    // How much follows is unknown: there is no way back into step.
    Refuse("501 5.5.4 Syntax: BDAT octets [LAST]");
    return Step::kClose;
  }
  chunk_refused_ = !in_transaction_ || recipients_.empty();
  chunk_left_ = chunk->octets;
  chunk_last_ = chunk->last;
  if (!in_chunks_ && !chunk_refused_) {
    content_.Begin(context_->recorder->wants_content(), options_->message_octets_max);
  }
  in_chunks_ = !chunk_refused_;
  expect_ = Expect::kChunk;
  if (chunk_left_ > 0) return Step::kContinue;
  std::string_view nothing;  // An empty chunk is over as it begins.
  return OnChunk(&nothing);
}

Dialogue::Step Dialogue::Rset(std::string_view) {
  ResetTransaction();
  return Reply("250 2.0.0 Ok");
}

Dialogue::Step Dialogue::Noop(std::string_view) { return Reply("250 2.0.0 Ok"); }

Dialogue::Step Dialogue::Quit(std::string_view) {
  counters_->quits.Add();
  Reply("221 2.0.0 Bye");
  return Step::kClose;
}

Dialogue::Step Dialogue::Vrfy(std::string_view) { return Reply("252 2.0.0 Send some mail"); }

}  // namespace mailrace::sink
