#include "transport/smtp/server_machine.h"

#include <algorithm>
#include <utility>

#include "base/address.h"
#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::transport::smtp {

namespace {

constexpr size_t kOrdinaryCommandOctetsMax = 512;     // RFC 5321 4.5.3.1.4, with CRLF.
constexpr size_t kDiscardedLineOctetsMax = 64 << 10;  // Then we stop reading.
constexpr char kTlsHandshakeRecord = 0x16;

// MAIL and RCPT grow with their parameters (RFC 1870, 3461, 6531), AUTH with its initial
// response (RFC 4954 4).
bool MayBeLong(Verb verb) {
  return verb == Verb::kMail || verb == Verb::kRcpt || verb == Verb::kAuth;
}

// Cost us something and bring no mail: Postfix's junk commands.
bool IsJunk(Verb verb) {
  return verb == Verb::kHelo || verb == Verb::kEhlo || verb == Verb::kRset || verb == Verb::kNoop ||
         verb == Verb::kVrfy || verb == Verb::kExpn || verb == Verb::kHelp;
}

// Of octets that should not have come, what a log may show: nothing of a login. `before`: the
// command that they follow.
std::string ShownInLog(std::string_view octets, Verb before) {
  constexpr std::string_view kAuth = "AUTH";
  constexpr std::string_view kWithheld = "AUTH (not shown)";
  if (before == Verb::kAuth) return std::string(kWithheld);
  const size_t shown = AsciiUppered(octets).find(kAuth);
  if (shown == std::string::npos) return Printable(octets, 100);
  return Printable(octets.substr(0, shown), 100) + std::string(kWithheld);
}

bool HasControls(std::string_view line) {
  return std::any_of(line.begin(), line.end(),
                     [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace

ServerMachine::ServerMachine(const ServerOptions* options) : options_(options) {}

void ServerMachine::Greet() { Reply(fmt::format("220 {}", options_->banner)); }

std::string ServerMachine::TakeReplies() { return std::exchange(replies_, std::string()); }

void ServerMachine::Reply(std::string_view reply) {
  replies_.append(reply);
  replies_.append("\r\n");
}

ServerMachine::Outcome ServerMachine::Happened() const {
  return event_ == Event::kNeedsInput ? Outcome::kGoOn : Outcome::kEvent;
}

ServerMachine::Event ServerMachine::Next(std::string_view* input, std::string* content) {
  while (true) {
    Outcome outcome = Outcome::kGoOn;
    switch (mode_) {
      case Mode::kClosed:
        return Event::kClose;
      case Mode::kCommand:
        outcome = NextCommand(input);
        break;
      case Mode::kAuth:
        outcome = NextAuthResponse(input);
        break;
      case Mode::kDiscardLine:
        outcome = DiscardLine(input);
        break;
      case Mode::kData:
        outcome = FeedData(input, content);
        break;
      case Mode::kChunk:
        outcome = FeedChunk(input, content);
        break;
    }
    if (outcome == Outcome::kNeedsInput) return Event::kNeedsInput;
    if (outcome == Outcome::kEvent) return std::exchange(event_, Event::kNeedsInput);
  }
}

// --- Lines. ---

ServerMachine::Outcome ServerMachine::NextCommand(std::string_view* input) {
  if (errors_ >= options_->hard_error_limit) {
    Reply(fmt::format("421 4.7.0 {} Error: too many errors", options_->hostname));
    mode_ = Mode::kClosed;
    return Outcome::kGoOn;
  }
  if (input->empty()) return Outcome::kNeedsInput;
  if (input->front() == kTlsHandshakeRecord && !tls_) {
    // There may never be a line's end in it.
    improper_input_ = "TLS handshake";
    HangUp("500 5.5.2 Error: TLS handshake before STARTTLS");
    return Outcome::kEvent;
  }
  std::string_view line;
  const Outcome outcome = TakeLine(input, &line);
  if (outcome != Outcome::kGoOn) return outcome;
  const CommandLine command = SplitCommand(line);
  verb_ = command.verb;
  last_command_ = VerbName(verb_);
  ++counts_[static_cast<size_t>(verb_)].all;
  if (IsJunk(verb_) && junk_++ >= options_->junk_command_limit) ++errors_;
  if (HasControls(line)) {
    Reject("500 5.5.2 Error: control character in command");
  } else if (line.size() + 2 > kOrdinaryCommandOctetsMax && !MayBeLong(verb_)) {
    Reject("500 5.5.2 Error: line too long");
  } else {
    Dispatch(command, input);
  }
  return Happened();
}

// The next line without its end. Not kGoOn: there is none yet, or it was refused.
ServerMachine::Outcome ServerMachine::TakeLine(std::string_view* input, std::string_view* line) {
  const size_t end = input->find('\n');
  const size_t octets = end == std::string_view::npos ? input->size() : end + 1;
  if (octets > options_->command_octets_max) {
    mode_ = Mode::kDiscardLine;
    discarded_ = 0;
    return DiscardLine(input);
  }
  if (end == std::string_view::npos) return Outcome::kNeedsInput;
  *line = input->substr(0, end);
  input->remove_prefix(octets);
  if (line->ends_with('\r')) {
    line->remove_suffix(1);
  } else if (options_->bare_newline == BareNewline::kReject) {
    improper_input_ = ShownInLog(*line, verb_);
    verb_ = Verb::kUnknown;
    ++counts_[static_cast<size_t>(verb_)].all;
    HangUp("500 5.5.2 Error: bare <LF> received");
    return Outcome::kEvent;
  }
  return Outcome::kGoOn;
}

ServerMachine::Outcome ServerMachine::DiscardLine(std::string_view* input) {
  const size_t end = input->find('\n');
  if (end == std::string_view::npos) {
    // A CR may belong to the LF that comes next.
    const size_t octets = input->size() - (input->ends_with('\r') ? 1 : 0);
    discarded_ += octets;
    input->remove_prefix(octets);
    if (discarded_ <= kDiscardedLineOctetsMax) return Outcome::kNeedsInput;
    HangUp("500 5.5.2 Error: line too long");
    return Happened();
  }
  const bool bare = end == 0 || (*input)[end - 1] != '\r';
  input->remove_prefix(end + 1);
  mode_ = Mode::kCommand;
  verb_ = Verb::kUnknown;
  last_command_ = VerbName(verb_);
  ++counts_[static_cast<size_t>(verb_)].all;
  if (bare && options_->bare_newline == BareNewline::kReject) {
    HangUp("500 5.5.2 Error: bare <LF> received");
  } else {
    Reject("500 5.5.2 Error: line too long");
  }
  return Happened();
}

// --- Answers. ---

void ServerMachine::Reject(std::string_view reply) {
  Reply(reply);
  refusal_ = reply;
  ++errors_;
  ++counts_[static_cast<size_t>(verb_)].refused;
  event_ = Event::kRefused;
}

void ServerMachine::HangUp(std::string_view reply) {
  Reject(reply);
  mode_ = Mode::kClosed;
}

void ServerMachine::Refuse(std::string_view reply) {
  Reject(reply);
  event_ = Event::kNeedsInput;  // The driver knows.
  if (verb_ == Verb::kRcpt) ++rcpts_refused_;
}

void ServerMachine::AcceptMail() {
  in_mail_ = true;
  rcpts_accepted_ = 0;
  rcpts_refused_ = 0;
  rcpts_over_limit_ = 0;
  in_bdat_ = false;
  bdat_refusal_.clear();
  scanner_ = ContentScanner({.bare_newline = options_->bare_newline,
                             .octets_max = options_->message_size_limit,
                             .line_octets_max = options_->line_octets_max});
  Reply("250 2.1.0 Ok");
}

void ServerMachine::AcceptRcpt() {
  ++rcpts_accepted_;
  Reply("250 2.1.5 Ok");
}

void ServerMachine::MessageAccepted() {
  errors_ = 0;
  junk_ = 0;
}

void ServerMachine::MessageRefused() { ++errors_; }

void ServerMachine::TlsStarted() {
  tls_ = true;
  helo_name_.clear();
  esmtp_ = false;
  authenticated_ = false;
}

// Whatever refers to the transaction is gone; the driver is told if it knew of one.
void ServerMachine::DropTransaction() {
  if (in_mail_) {
    refusal_.clear();
    event_ = Event::kAbandoned;
  }
  in_mail_ = false;
  in_bdat_ = false;
  bdat_refusal_.clear();
}

// False: the client sent on without waiting for a reply that may change everything. It
// is either an attack or a client whose commands we would misread (RFC 2920 3.1).
bool ServerMachine::NothingBehind(std::string_view* input) {
  if (input->empty()) return true;
  improper_input_ = ShownInLog(*input, verb_);
  HangUp("554 5.5.0 Error: SMTP protocol synchronization");
  return false;
}

std::string ServerMachine::CommandCounts() const {
  std::string text;
  Count commands;
  for (size_t i = 0; i < kVerbs; ++i) {
    const Count& count = counts_[i];
    if (count.all == 0) continue;
    const std::string name = AsciiLowered(VerbName(static_cast<Verb>(i)));
    const uint32_t good = count.all - count.refused;
    text += count.refused == 0 ? fmt::format("{}={} ", name, count.all)
                               : fmt::format("{}={}/{} ", name, good, count.all);
    commands.all += count.all;
    commands.refused += count.refused;
  }
  const uint32_t good = commands.all - commands.refused;
  text += commands.refused == 0 ? fmt::format("commands={}", commands.all)
                                : fmt::format("commands={}/{}", good, commands.all);
  return text;
}

}  // namespace mailrace::transport::smtp
