#include "tools/sink/dialogue.h"

#include <algorithm>

#include "base/text.h"
#include "fmt/format.h"

namespace mailrace::sink {

// The busiest first.
const Dialogue::Command Dialogue::kCommands[] = {
    {"MAIL", &Dialogue::Mail, SinkStep::kMail, false},
    {"RCPT", &Dialogue::Rcpt, SinkStep::kRcpt, false},
    {"DATA", &Dialogue::Data, SinkStep::kData, false},
    {"BDAT", &Dialogue::Bdat, SinkStep::kNone, false},
    {"EHLO", &Dialogue::Ehlo, SinkStep::kEhlo, true},
    {"HELO", &Dialogue::Helo, SinkStep::kEhlo, true},
    {"STARTTLS", &Dialogue::Starttls, SinkStep::kStarttls, true},
    {"AUTH", &Dialogue::Auth, SinkStep::kAuth, false},
    {"RSET", &Dialogue::Rset, SinkStep::kRset, false},
    {"NOOP", &Dialogue::Noop, SinkStep::kNone, true},
    {"QUIT", &Dialogue::Quit, SinkStep::kQuit, true},
    {"VRFY", &Dialogue::Vrfy, SinkStep::kNone, false},
};

Dialogue::Dialogue(const DialogueContext* context, uint64_t session)
    : context_(context),
      options_(context->options),
      counters_(context->counters),
      session_(session) {}

Dialogue::Step Dialogue::Greet(Buffer* out) {
  out_ = out;
  const Fault* fault = context_->faults->Consult(SinkStep::kGreeting, "", context_->random);
  // Lost: there is nothing to be done behind the greeting's reply.
  if (fault != nullptr) return Inject(*fault, &Dialogue::Noop, "");
  return Reply(fmt::format("220 {} ESMTP", options_->host_name));
}

Dialogue::Step Dialogue::Process(Buffer* input, Buffer* out) {
  out_ = out;
  group_commands_ = 0;
  group_ended_message_ = false;
  Step step = Step::kContinue;
  std::string_view rest = input->view();
  const size_t octets = rest.size();
  size_t before = 0;
  // Until nothing more can be made of what is there.
  while (step == Step::kContinue && rest.size() != before && !rest.empty()) {
    before = rest.size();
    if (expect_ == Expect::kData) {
      step = OnData(&rest);
    } else if (expect_ == Expect::kChunk) {
      step = OnChunk(&rest);
    } else {
      step = OnLine(&rest);
    }
  }
  input->Consume(octets - rest.size());
  if (group_commands_ > 0) {
    counters_->command_groups.Add();
    counters_->commands.Add(group_commands_);
    counters_->pipelined_commands.Add(group_commands_ - 1);
    const uint64_t largest = std::max(counters_->largest_group.value(), group_commands_);
    counters_->largest_group.Set(largest);
  }
  return step;
}

Dialogue::Step Dialogue::OnLine(std::string_view* input) {
  const size_t line_feed = input->find('\n');
  if (std::min(line_feed, input->size()) > kLineOctetsMax) {
    Refuse("500 5.5.6 Line too long");
    return Step::kClose;
  }
  if (line_feed == input->npos) return Step::kContinue;
  std::string_view line = input->substr(0, line_feed);
  input->remove_prefix(line_feed + 1);
  if (!line.ends_with('\r')) return Refuse("500 5.5.2 A line ends with CRLF");
  line.remove_suffix(1);
  return expect_ == Expect::kCommand ? OnCommand(line) : OnAuthLine(line);
}

Dialogue::Step Dialogue::OnCommand(std::string_view line) {
  ++group_commands_;
  const std::string_view verb = line.substr(0, line.find(' '));
  const std::string_view argument = Trim(line.substr(verb.size()));
  for (const Command& command : kCommands) {
    if (!EqualsIgnoreCase(verb, command.verb)) continue;
    if (options_->require_tls && !tls_ && !command.before_tls) {
      return Refuse("530 5.7.0 Must issue a STARTTLS command first");
    }
    const Fault* fault = context_->faults->Consult(command.step, argument, context_->random);
    if (fault != nullptr) return Inject(*fault, command.handler, argument);
    return (this->*command.handler)(argument);
  }
  return Refuse("500 5.5.1 Command unknown");
}

Dialogue::Step Dialogue::OnData(std::string_view* input) {
  if (!content_.ReadData(input)) return Step::kContinue;
  expect_ = Expect::kCommand;
  return FinishMessage();
}

Dialogue::Step Dialogue::OnChunk(std::string_view* input) {
  const std::string_view octets = input->substr(0, chunk_left_);
  if (!chunk_refused_) content_.ReadChunk(octets);
  chunk_left_ -= octets.size();
  input->remove_prefix(octets.size());
  if (chunk_left_ > 0) return Step::kContinue;
  expect_ = Expect::kCommand;
  if (chunk_refused_) return Refuse("503 5.5.1 BDAT needs MAIL and RCPT, and no DATA");
  if (chunk_last_) return FinishMessage();
  const Fault* fault = context_->faults->Consult(SinkStep::kBdat, "", context_->random);
  if (fault == nullptr) return Reply("250 2.0.0 Chunk taken");
  // RFC 3030 2: after a chunk was refused the transaction is over.
  if (fault->action == Fault::Action::kReply) ResetTransaction();
  return Inject(*fault, &Dialogue::Noop, "");
}

Dialogue::Step Dialogue::FinishMessage() {
  group_ended_message_ = true;
  const std::string_view id = content_.MessageId();
  Step step = Step::kContinue;
  if (const Fault* fault = context_->faults->Consult(SinkStep::kDot, id, context_->random)) {
    if (fault->action == Fault::Action::kReply) counters_->messages_refused.Add();
    step = Inject(*fault, &Dialogue::Accept, id);
  } else {
    step = Accept(id);
  }
  ResetTransaction();
  return step;
}

Dialogue::Step Dialogue::Accept(std::string_view id) {
  if (content_.too_large()) {
    counters_->messages_refused.Add();
    return Reply("552 5.3.4 Message too large");
  }
  AcceptedMessage message;
  message.session = session_;
  message.number = messages_ + 1;
  message.time = context_->clock->Wall();
  message.user = user_;
  message.tls_protocol = tls_protocol_;
  message.tls_cipher = tls_cipher_;
  message.reverse_path = reverse_path_;
  message.recipients = &recipients_;
  message.id = id;
  message.octets = content_.octets();
  message.content = content_.content();
  const Recorder::Verdict verdict = context_->recorder->Accept(message);
  if (verdict != Recorder::Verdict::kAccepted) {
    counters_->messages_refused.Add();
    return Reply(verdict == Recorder::Verdict::kLimitReached
                     ? "452 4.3.1 Enough messages: --max-messages"
                     : "451 4.3.0 The record or the message could not be written");
  }
  ++messages_;
  const auto now = static_cast<uint64_t>(absl::ToUnixMicros(message.time));
  if (counters_->messages.value() == 0) counters_->first_message.Set(now);
  counters_->last_message.Set(now);
  counters_->messages.Add();
  counters_->recipients.Add(recipients_.size());
  counters_->octets.Add(content_.octets());
  return Reply(fmt::format("250 2.0.0 Ok: queued as {}-{}", session_, messages_));
}

Dialogue::Step Dialogue::Inject(const Fault& fault, Handler instead_of, std::string_view argument) {
  counters_->faults.Add();
  switch (fault.action) {
    case Fault::Action::kReply:
      Reply(fmt::format("{} {}.3.0 Injected fault", fault.code, fault.code / 100));
      return fault.code == 421 ? Step::kClose : Step::kContinue;
    case Fault::Action::kStall:
      return Step::kStall;
    case Fault::Action::kGarbage:
      return Reply("\x80\xff 25O \x01not a reply");
    case Fault::Action::kLost: {
      Buffer lost;
      out_ = &lost;
      (this->*instead_of)(argument);
      return Step::kClose;
    }
    case Fault::Action::kDrop:
      break;
  }
  return Step::kClose;
}

Dialogue::Step Dialogue::Reply(std::string_view line) {
  out_->Append(line);
  out_->Append("\r\n");
  return Step::kContinue;
}

Dialogue::Step Dialogue::Refuse(std::string_view line) {
  counters_->protocol_errors.Add();
  Reply(line);
  if (++errors_ < kErrorsMax) return Step::kContinue;
  Reply("421 4.7.0 Too many errors");
  return Step::kClose;
}

void Dialogue::Leave(std::string_view why, Buffer* out) {
  out->Append(fmt::format("421 4.3.2 {} {}\r\n", options_->host_name, why));
}

void Dialogue::TlsStarted(std::string protocol, std::string cipher) {
  tls_ = true;
  tls_protocol_ = std::move(protocol);
  tls_cipher_ = std::move(cipher);
  greeted_ = false;
  auth_.reset();
  user_.clear();
  ResetTransaction();
}

void Dialogue::ResetTransaction() {
  in_transaction_ = false;
  in_chunks_ = false;
  smtputf8_ = false;
  reverse_path_.clear();
  recipients_.clear();
}

bool Dialogue::Offers(std::string_view keyword) const {
  return std::find(options_->without.begin(), options_->without.end(), keyword) ==
         options_->without.end();
}

}  // namespace mailrace::sink
