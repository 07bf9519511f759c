// The commands of ServerMachine, one function each, and the content behind DATA and BDAT.

#include <algorithm>
#include <utility>

#include "base/address.h"
#include "base/text.h"
#include "fmt/format.h"
#include "transport/smtp/server_machine.h"

namespace mailrace::transport::smtp {

namespace {
constexpr size_t kHeloOctetsMax = 255;  // RFC 5321 4.5.3.1.2
constexpr std::string_view kDsnDisabled = "501 5.7.1 DSN support is disabled";
}  // namespace

void ServerMachine::Dispatch(const CommandLine& command, std::string_view* input) {
  switch (command.verb) {
    case Verb::kHelo:
    case Verb::kEhlo:
      return Hello(command, input);
    case Verb::kStartTls:
      return StartTlsCommand(command, input);
    case Verb::kMail:
      return MailFrom(command);
    case Verb::kRcpt:
      return RcptTo(command);
    case Verb::kData:
      return Data(command, input);
    case Verb::kBdat:
      return Bdat(command, input);
    case Verb::kRset:
      if (!command.argument.empty()) return Reject("501 5.5.4 Syntax: RSET");
      DropTransaction();
      return Reply("250 2.0.0 Ok");
    case Verb::kNoop:
      return Reply("250 2.0.0 Ok");
    case Verb::kVrfy:
      return Vrfy(command);
    case Verb::kExpn:
    case Verb::kHelp:
      return Reject("502 5.5.1 Error: command not implemented");
    case Verb::kAuth:
      return Auth(command, input);
    case Verb::kQuit:
      if (!command.argument.empty()) return Reject("501 5.5.4 Syntax: QUIT");
      DropTransaction();
      Reply("221 2.0.0 Bye");
      mode_ = Mode::kClosed;
      return;
    case Verb::kUnknown:
      return Unknown(command);
  }
}

void ServerMachine::Unknown(const CommandLine& command) {
  // smtpd_forbidden_commands: a web browser made to talk to us would go on for long.
  for (const std::string_view word : {"CONNECT", "GET", "POST"}) {
    if (EqualsIgnoreCase(command.word, word)) {
      return HangUp("221 2.7.0 Error: I can break rules, too. Goodbye.");
    }
  }
  Reject(command.word.empty() ? "500 5.5.2 Error: bad syntax"
                              : "500 5.5.2 Error: command not recognized");
}

void ServerMachine::Vrfy(const CommandLine& command) {
  constexpr std::string_view kSmtpUtf8 = " SMTPUTF8";
  std::string_view address = command.argument;
  const bool smtputf8 =
      address.size() > kSmtpUtf8.size() &&
      EqualsIgnoreCase(address.substr(address.size() - kSmtpUtf8.size()), kSmtpUtf8);
  if (smtputf8) address.remove_suffix(kSmtpUtf8.size());
  if (address.empty()) return Reject("501 5.5.4 Syntax: VRFY address");
  if (!smtputf8 && !IsAscii(address)) {
    return Reject("553 5.6.7 Must declare SMTPUTF8 to send unicode address");
  }
  if (!IsValidUtf8(address)) return Reject("501 5.1.3 Bad recipient address syntax");
  Reply(fmt::format("252 2.0.0 {}", Printable(address, 256)));
}

void ServerMachine::Hello(const CommandLine& command, std::string_view* input) {
  const bool ehlo = command.verb == Verb::kEhlo;
  // No enhanced codes here: the client does not know yet that there are any (RFC 2034 4).
  if (command.argument.empty() || command.argument.size() > kHeloOctetsMax ||
      command.argument.find_first_of(" \t") != std::string_view::npos) {
    return Reject(ehlo ? "501 Syntax: EHLO hostname" : "501 Syntax: HELO hostname");
  }
  if (options_->forbid_unauth_pipelining && !NothingBehind(input)) return;
  DropTransaction();
  helo_name_ = command.argument;
  esmtp_ = ehlo;
  if (!ehlo) return Reply(fmt::format("250 {}", options_->hostname));
  std::vector<std::string> lines{options_->hostname};
  const auto offer = [&](std::string_view keyword, std::string_view parameters = "") {
    if (Offers(keyword)) lines.push_back(fmt::format("{}{}", keyword, parameters));
  };
  offer("PIPELINING");
  offer("SIZE", options_->message_size_limit == 0
                    ? std::string()
                    : fmt::format(" {}", options_->message_size_limit));
  if (options_->starttls && !tls_) offer("STARTTLS");
  if (auth_offered() && !authenticated_) {
    offer("AUTH", fmt::format(" {}", fmt::join(AuthMechanisms(), " ")));
  }
  for (const char* keyword : {"ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING"}) {
    offer(keyword);
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    Reply(fmt::format("250{}{}", i + 1 < lines.size() ? '-' : ' ', lines[i]));
  }
}

bool ServerMachine::Offers(std::string_view keyword) const {
  const std::vector<std::string>& discarded = options_->discard_ehlo_keywords;
  return std::find(discarded.begin(), discarded.end(), keyword) == discarded.end();
}

void ServerMachine::StartTlsCommand(const CommandLine& command, std::string_view* input) {
  if (!command.argument.empty()) return Reject("501 5.5.4 Syntax: STARTTLS");
  if (tls_) return Reject("503 5.5.1 Error: TLS already active");
  if (!options_->starttls) return Reject("502 5.5.1 Error: command not implemented");
  if (in_mail_) return Reject("503 5.5.1 Error: MAIL transaction in progress");
  // Commands injected in clear must not be read as if they came through TLS
  // (CVE-2011-0411), so there must be none.
  if (!NothingBehind(input)) return;
  Reply("220 2.0.0 Ready to start TLS");
  event_ = Event::kStartTls;
}

void ServerMachine::MailFrom(const CommandLine& command) {
  if (options_->helo_required && helo_name_.empty()) {
    return Reject("503 5.5.1 Error: send HELO/EHLO first");
  }
  if (in_mail_) return Reject("503 5.5.1 Error: nested MAIL command");
  MailCommand mail;
  std::string refusal;
  if (!ParseMail(command.argument, &mail, &refusal)) return Reject(refusal);
  if ((mail.ret != ReturnType::kUnset || !mail.envid.empty()) && !Offers("DSN")) {
    return Reject(kDsnDisabled);
  }
  if (options_->message_size_limit != 0 && mail.size.value_or(0) > options_->message_size_limit) {
    return Reject("552 5.3.4 Message size exceeds fixed limit");
  }
  mail_ = std::move(mail);
  event_ = Event::kMail;
}

void ServerMachine::RcptTo(const CommandLine& command) {
  if (!in_mail_) return Reject("503 5.5.1 Error: need MAIL command");
  if (in_bdat_) return Reject("503 5.5.1 Error: RCPT command after BDAT");
  if (rcpts_accepted_ >= options_->recipient_limit) {
    Reject("452 4.5.3 Error: too many recipients");
    // A client with a long list has not understood the limit yet; that is no abuse.
    if (rcpts_over_limit_++ < options_->recipient_overshoot_limit) --errors_;
    return;
  }
  RcptCommand rcpt;
  std::string refusal;
  if (!ParseRcpt(command.argument, mail_.smtputf8, &rcpt, &refusal)) {
    ++rcpts_refused_;
    return Reject(refusal);
  }
  if ((rcpt.notify != 0 || !rcpt.orcpt.empty()) && !Offers("DSN")) {
    ++rcpts_refused_;
    return Reject(kDsnDisabled);
  }
  rcpt_ = std::move(rcpt);
  event_ = Event::kRcpt;
}

// Why content cannot begin now; empty: it can.
std::string_view ServerMachine::CannotSend() const {
  if (in_mail_ && rcpts_accepted_ > 0) return {};
  if (in_mail_ && rcpts_refused_ > 0) return "554 5.5.1 Error: no valid recipients";
  return "503 5.5.1 Error: need RCPT command";
}

void ServerMachine::Data(const CommandLine& command, std::string_view* input) {
  if (in_bdat_) return Reject("503 5.5.1 Error: DATA command after BDAT");
  if (const std::string_view why = CannotSend(); !why.empty()) return Reject(why);
  if (!command.argument.empty()) return Reject("501 5.5.4 Syntax: DATA");
  if (options_->forbid_unauth_pipelining && !NothingBehind(input)) return;
  Reply("354 End data with <CR><LF>.<CR><LF>");
  discarded_ = 0;
  mode_ = Mode::kData;
}

void ServerMachine::Bdat(const CommandLine& command, std::string_view* input) {
  const std::optional<BdatCommand> bdat = ParseBdat(command.argument);
  if (!bdat) {
    Reject("501 5.5.4 Syntax: BDAT count [LAST]");
    // Nobody knows how much of what follows is content: none of it may be obeyed.
    NothingBehind(input);
    return;
  }
  chunk_left_ = bdat->octets;
  chunk_octets_ = bdat->octets;
  chunk_last_ = bdat->last;
  chunk_refusal_ = CannotSend();
  if (chunk_refusal_.empty()) {
    in_bdat_ = true;
    const uint64_t limit = options_->message_size_limit;
    if (limit != 0 && bdat->octets > limit - std::min(limit, scanner_.octets())) {
      bdat_refusal_ = "552 5.3.4 Error: message file too big";
    }
  }
  // RFC 3030 2: the octets come, whatever we think of them. There is an end to patience.
  if (ChunkRefused() && bdat->octets > options_->discard_octets_max) {
    return HangUp(chunk_refusal_.empty() ? bdat_refusal_ : chunk_refusal_);
  }
  mode_ = Mode::kChunk;
}

// --- Content. ---

ServerMachine::Outcome ServerMachine::FeedData(std::string_view* input, std::string* content) {
  const size_t before = input->size();
  const bool ended = scanner_.FeedData(input, content);
  if (ended) {
    EndOfContent();
    return Happened();
  }
  if (scanner_.problem() != ContentScanner::Problem::kNone) {
    discarded_ += before - input->size();
    if (discarded_ > options_->discard_octets_max) {
      EndOfContent();
      mode_ = Mode::kClosed;
      return Happened();
    }
  }
  return Outcome::kNeedsInput;
}

ServerMachine::Outcome ServerMachine::FeedChunk(std::string_view* input, std::string* content) {
  const size_t octets = std::min<uint64_t>(chunk_left_, input->size());
  if (!ChunkRefused()) scanner_.FeedChunk(input->substr(0, octets), content);
  input->remove_prefix(octets);
  chunk_left_ -= octets;
  if (chunk_left_ > 0) return Outcome::kNeedsInput;
  mode_ = Mode::kCommand;
  EndOfChunk(content);
  return Happened();
}

void ServerMachine::EndOfChunk(std::string* content) {
  if (!chunk_refusal_.empty()) return Reject(chunk_refusal_);
  if (chunk_last_ && bdat_refusal_.empty()) {
    scanner_.FinishChunks(content);
    return EndOfContent();
  }
  if (bdat_refusal_.empty()) bdat_refusal_ = ContentRefusal();
  if (bdat_refusal_.empty()) return Reply(fmt::format("250 2.0.0 Ok: {} bytes", chunk_octets_));
  const std::string refusal = bdat_refusal_;
  Reject(refusal);
  // A later chunk of the same message is refused too; its last one, or RSET, ends it.
  if (chunk_last_) DropTransaction();
  refusal_ = refusal;
  event_ = Event::kAbandoned;
  if (refusal.starts_with("521")) mode_ = Mode::kClosed;
}

void ServerMachine::EndOfContent() {
  mode_ = Mode::kCommand;
  last_command_ = "END-OF-MESSAGE";
  const std::string refusal = ContentRefusal();
  if (!refusal.empty()) Reject(refusal);
  DropTransaction();
  if (refusal.empty()) {
    event_ = Event::kMessage;
    return;
  }
  refusal_ = refusal;
  event_ = Event::kAbandoned;
  if (refusal.starts_with("521")) mode_ = Mode::kClosed;
}

std::string ServerMachine::ContentRefusal() const {
  switch (scanner_.problem()) {
    case ContentScanner::Problem::kNone:
      return {};
    case ContentScanner::Problem::kBareNewline:
      return fmt::format("{} 5.5.2 {} Error: bare <LF> or <CR> received",
                         options_->bare_newline_reject_code, options_->hostname);
    case ContentScanner::Problem::kNul:
      return "550 5.6.0 Error: NUL octet in message content";
    case ContentScanner::Problem::kLongLine:
      return fmt::format("550 5.6.0 Error: message line longer than {} octets",
                         options_->line_octets_max);
    case ContentScanner::Problem::kTooLarge:
      return "552 5.3.4 Error: message file too big";
  }
  return {};
}

}  // namespace mailrace::transport::smtp
