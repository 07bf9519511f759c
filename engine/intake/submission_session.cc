#include "engine/intake/submission_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "engine/intake/trace_header.h"
#include "fmt/format.h"
#include "transport/tls/engine.h"

namespace mailrace::engine {

using transport::smtp::ServerMachine;

namespace {

// Messages of one client whose commits may be awaited at once, and their octets.
constexpr size_t kPendingMax = 64;
constexpr size_t kPendingOctetsMax = 1 << 20;
constexpr absl::Duration kFarewellTime = absl::Seconds(1);
// Before a login is refused: smtpd_error_sleep_time.
constexpr absl::Duration kAuthFailureDelay = absl::Seconds(1);

std::string ClientName(const SocketAddress& remote) {
  return fmt::format("{}[{}]", PeerName(remote.ip), remote.ip.ToString());
}

// ::ffff:192.0.2.1 is how a dual-stack socket names an IPv4 client.
IpAddress Unmapped(const IpAddress& ip) {
  constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!ip.v6 || !std::equal(kMapped.begin(), kMapped.end(), ip.octets.begin())) return ip;
  IpAddress v4;
  std::copy(ip.octets.begin() + 12, ip.octets.end(), v4.octets.begin());
  return v4;
}

// RFC 6409 4.2. "localhost" names the same host everywhere (RFC 6761 6.3), and an
// address literal is as full as an address can be.
bool FullyQualified(std::string_view address) {
  const size_t at = address.rfind('@');
  if (address.empty() || at == std::string_view::npos) return true;
  const std::string_view domain = address.substr(at + 1);
  return domain.find('.') != std::string_view::npos || domain.starts_with('[') ||
         EqualsIgnoreCase(domain, "localhost");
}

}  // namespace

SubmissionSession::SubmissionSession(const SubmissionContext* context,
                                     std::shared_ptr<const IntakeOptions> options,
                                     std::unique_ptr<transport::Stream> stream)
    : context_(context),
      options_(std::move(options)),
      server_options_(options_->ToServerOptions()),
      stream_(std::move(stream)),
      remote_(stream_->remote()),
      client_(ClientName(remote_)),
      machine_(&server_options_),
      auth_(options_.get()),
      message_(context->acceptor, options_.get()),
      commits_(context->loop),
      committed_(context->loop) {}

void SubmissionSession::Stop() {
  stopping_ = true;
  if (reading_) stream_->CancelRead();
}

void SubmissionSession::StopNow() {
  stopping_now_ = true;
  Stop();
}

void SubmissionSession::Cancel() {
  stopping_now_ = true;
  stopping_ = true;
  stream_->Cancel();
}

Task<void> SubmissionSession::Run(bool implicit_tls) {
  context_->stats->sessions.Add();
  context_->stats->sessions_open.Add();
  Log(fmt::format("connect from {}", client_));
  bool ready = true;
  if (implicit_tls) {
    ready = co_await StartTls();
    machine_.TlsStarted();
  }
  if (ready) {
    machine_.Greet();
    co_await Dialogue();
  }
  // A commit under way ends before what it points to; its message is the queue's now.
  co_await commits_.Join();
  message_.Abandon();
  co_await stream_->Shutdown(context_->loop->now() + kFarewellTime);
  Log(fmt::format("disconnect from {} {}", client_, machine_.CommandCounts()));
  context_->stats->sessions_open.Subtract();
}

Task<void> SubmissionSession::Dialogue() {
  while (true) {
    std::string_view input = stream_->input().view();
    const size_t before = input.size();
    const ServerMachine::Event event = machine_.Next(&input, message_.content());
    stream_->input().Consume(before - input.size());
    const bool go_on = co_await Handle(event);
    if (!go_on) co_return;
  }
}

// False: the session is over.
Task<bool> SubmissionSession::Handle(ServerMachine::Event event) {
  CollectReplies();
  switch (event) {
    case ServerMachine::Event::kNeedsInput: {
      const bool read = co_await AwaitInput();
      co_return read;
    }
    case ServerMachine::Event::kMail:
      DecideMail();
      break;
    case ServerMachine::Event::kRcpt:
      DecideRcpt();
      break;
    case ServerMachine::Event::kMessage: {
      const bool settled = co_await FinishMessage();
      co_return settled;
    }
    case ServerMachine::Event::kAbandoned:
      if (!machine_.refusal().empty()) LogRefusal();
      message_.Abandon();
      break;
    case ServerMachine::Event::kRefused:
      LogRefusal();
      break;
    case ServerMachine::Event::kStartTls: {
      const bool started = co_await StartTls();
      if (started) {
        machine_.TlsStarted();
        auth_.Forget();
      }
      co_return started;
    }
    case ServerMachine::Event::kAuth:
      co_await Authenticate(auth_.Begin(machine_.auth_mechanism(), machine_.auth_response()));
      break;
    case ServerMachine::Event::kAuthResponse:
      co_await Authenticate(auth_.Continue(machine_.auth_response()));
      break;
    case ServerMachine::Event::kClose: {
      const bool settled = co_await Settle();
      static_cast<void>(settled);
      co_return false;
    }
  }
  co_return true;
}

// --- Reading and writing. ---

// What the machine wants said goes behind the replies that wait for a commit.
void SubmissionSession::CollectReplies() {
  const std::string replies = machine_.TakeReplies();
  if (pending_.empty()) {
    stream_->output().Append(replies);
  } else {
    pending_.back()->later_replies += replies;
  }
}

MonoTime SubmissionSession::ReplyDeadline() const {
  return context_->loop->now() + options_->smtpd_timeout;
}

// Input ran out: everything owed is said before more is awaited (RFC 2920 3.2).
Task<bool> SubmissionSession::AwaitInput() {
  co_await message_.Store();
  const bool settled = co_await Settle();
  if (!settled) co_return false;
  if (stopping_ && (stopping_now_ || !machine_.in_transaction())) {
    co_await SayLast(
        fmt::format("421 4.3.2 {} Service shutting down, try later", options_->myhostname));
    co_return false;
  }
  const bool read = co_await ReadMore();
  co_return read;
}

Task<bool> SubmissionSession::ReadMore() {
  const size_t before = stream_->input().size();
  reading_ = true;
  const absl::StatusOr<bool> filled = co_await stream_->Fill(request_deadline_);
  reading_ = false;
  if (filled.ok() && *filled) {
    if (machine_.in_content() && options_->smtpd_min_data_rate > 0) {
      // Content may take as long as it takes at the lowest rate we put up with.
      const auto octets = static_cast<double>(stream_->input().size() - before);
      const absl::Duration earned =
          absl::Seconds(octets / static_cast<double>(options_->smtpd_min_data_rate));
      request_deadline_ = std::min(request_deadline_ + earned, ReplyDeadline());
    }
    co_return true;
  }
  if (!filled.ok() && absl::IsCancelled(filled.status()) && stopping_) {
    // Woken by Stop(): the next look at stopping_ decides. After Cancel() nothing can
    // be said any more, and the write that says so fails.
    co_return true;
  }
  const bool timeout = !filled.ok() && absl::IsDeadlineExceeded(filled.status());
  LogGone(timeout ? "timeout" : "lost connection");
  if (timeout) {
    co_await SayLast(fmt::format("421 4.4.2 {} Error: timeout exceeded", options_->myhostname));
  }
  co_return false;
}

// Awaits every commit under way and sends all replies. False: the client is gone.
Task<bool> SubmissionSession::Settle() {
  Buffer& output = stream_->output();
  while (true) {
    while (!pending_.empty() && pending_.front()->done) {
      output.Append(pending_.front()->reply);
      output.Append(pending_.front()->later_replies);
      pending_octets_ -= pending_.front()->octets;
      pending_.pop_front();
    }
    if (!output.empty()) {
      const absl::Status sent = co_await stream_->Flush(ReplyDeadline());
      if (!sent.ok()) {
        LogGone(absl::IsDeadlineExceeded(sent) ? "timeout" : "lost connection");
        co_return false;
      }
      request_deadline_ = ReplyDeadline();
      continue;
    }
    if (pending_.empty()) co_return true;
    const bool notified = co_await committed_.Wait();
    static_cast<void>(notified);
  }
}

Task<void> SubmissionSession::SayLast(std::string reply) {
  stream_->output().Append(reply);
  stream_->output().Append("\r\n");
  // It is a courtesy: whether it arrives changes nothing.
  const absl::Status sent = co_await stream_->Flush(context_->loop->now() + kFarewellTime);
  static_cast<void>(sent);
}

Task<bool> SubmissionSession::StartTls() {
  const bool settled = co_await Settle();
  if (!settled) co_return false;
  absl::StatusOr<std::unique_ptr<transport::tls::Engine>> engine =
      options_->tls_context == nullptr
          ? absl::FailedPreconditionError("no server certificate is configured")
          : transport::tls::Engine::Server(options_->tls_context);
  absl::Status started = engine.status();
  if (engine.ok()) {
    const MonoTime deadline = context_->loop->now() + options_->smtpd_starttls_timeout;
    started = co_await stream_->StartTls(std::move(*engine), deadline);
  }
  if (!started.ok()) {
    context_->logger->Info("smtpd", fmt::format("SSL_accept error from {}: {}", client_,
                                                Printable(std::string(started.message()), 300)));
    LogGone("lost connection");
    co_return false;
  }
  request_deadline_ = ReplyDeadline();
  if (options_->smtpd_tls_loglevel > 0) {
    const transport::tls::Info& info = stream_->tls()->info();
    Log(fmt::format("Anonymous TLS connection {} from {}: {} with cipher {} ({}/{} bits)",
                    info.resumed ? "reused" : "established", client_, info.protocol, info.cipher,
                    info.cipher_bits_used, info.cipher_bits));
  }
  co_return true;
}

// --- Decisions. ---

std::string SubmissionSession::MailRefusal() const {
  const std::string& reverse_path = machine_.mail().reverse_path;
  if (auth_.user().empty() && !options_->mynetworks.Contains(Unmapped(remote_.ip))) {
    if (machine_.auth_offered()) return "530 5.7.0 Error: authentication required";
    if (machine_.auth_needs_tls()) return "530 5.7.0 Must issue a STARTTLS command first";
    return fmt::format("554 5.7.1 <{}>: Client host rejected: Relay access denied",
                       ClientName(remote_));
  }
  if (options_->require_fully_qualified_domains && !FullyQualified(reverse_path)) {
    return fmt::format("554 5.5.2 <{}>: Sender address rejected: need fully-qualified address",
                       Printable(reverse_path, 256));
  }
  const absl::Status admitted = context_->acceptor->Admit(machine_.mail().size.value_or(0));
  return admitted.ok() ? std::string() : QueueRefusal(admitted);
}

void SubmissionSession::DecideMail() {
  message_.Begin(machine_.mail(), context_->loop->wall(), context_->loop->now());
  const std::string refusal = MailRefusal();
  if (refusal.empty()) {
    machine_.AcceptMail();
  } else {
    machine_.Refuse(refusal);
    LogRefusal();
  }
  CollectReplies();
}

void SubmissionSession::DecideRcpt() {
  const std::string& forward_path = machine_.rcpt().forward_path;
  if (options_->require_fully_qualified_domains && !FullyQualified(forward_path)) {
    machine_.Refuse(
        fmt::format("554 5.5.2 <{}>: Recipient address rejected: need fully-qualified address",
                    Printable(forward_path, 256)));
    LogRefusal();
  } else {
    const bool first = !message_.begun();
    message_.AddRecipient(machine_.rcpt());
    if (first) {
      message_.SetSource(
          {machine_.helo_name(), remote_.ip, Protocol(), stream_->local(), auth_.user()});
      Log(fmt::format("{}: client={}{}", Where(), client_, LoginFacts()));
    }
    machine_.AcceptRcpt();
  }
  CollectReplies();
}

std::string SubmissionSession::Protocol() const {
  return fmt::format(
      "{}{}{}", machine_.mail().smtputf8 ? "UTF8SMTP" : (machine_.esmtp() ? "ESMTP" : "SMTP"),
      machine_.tls() && machine_.esmtp() ? "S" : "", auth_.user().empty() ? "" : "A");
}

std::string SubmissionSession::LoginFacts() const {
  if (auth_.user().empty()) return {};
  return fmt::format(", sasl_method={}, sasl_username={}", auth_.mechanism(),
                     Printable(auth_.user(), 256));
}

Task<void> SubmissionSession::Authenticate(SubmissionAuth::Outcome outcome) {
  using State = SubmissionAuth::Outcome::State;
  switch (outcome.state) {
    case State::kChallenge:
      machine_.AuthChallenge(outcome.challenge);
      break;
    case State::kSuccess:
      machine_.AuthSucceeded();
      break;
    case State::kFailure:
      context_->stats->refused.Add();
      context_->logger->Warning(
          "smtpd",
          fmt::format("{}: SASL {} authentication failed: authentication failure, "
                      "sasl_username={}",
                      client_, machine_.auth_mechanism(), Printable(auth_.claimed_user(), 256)));
      // Whoever tries passwords shall not try many.
      if (!stopping_)
        co_await SleepUntil(context_->loop, context_->loop->now() + kAuthFailureDelay);
      machine_.AuthFailed();
      break;
  }
  CollectReplies();
}

// --- The message. ---

void SubmissionSession::RefuseMessage(std::string reply) {
  machine_.Reply(reply);
  machine_.MessageRefused();
  CollectReplies();
  context_->stats->refused.Add();
  Log(fmt::format("{}: reject: END-OF-MESSAGE from {}: {}; from=<{}> proto={} helo=<{}>", Where(),
                  client_, reply, Printable(message_.envelope().reverse_path, 256), Protocol(),
                  SafeHeloName(machine_.helo_name())));
  message_.Abandon();
}

Task<bool> SubmissionSession::FinishMessage() {
  co_await message_.Store();
  const std::string refusal = message_.Finish(machine_.content().eight_bit());
  if (!refusal.empty()) {
    RefuseMessage(refusal);
    co_return true;
  }
  context_->logger->Info("cleanup", fmt::format("{}: message-id={}", Where(),
                                                Printable(message_.envelope().message_id, 998)));
  LogLabelProblem();
  queue::Octets content = message_.TakeContent();
  auto pending = std::make_unique<Pending>();
  pending->octets = content->size();
  pending_octets_ += pending->octets;
  const MonoTime begun = message_.mail_time();
  commits_.Spawn(Commit(pending.get(), message_.TakeEnvelope(), std::move(content), begun));
  pending_.push_back(std::move(pending));
  if (pending_.size() < kPendingMax && pending_octets_ < kPendingOctetsMax) co_return true;
  const bool settled = co_await Settle();
  co_return settled;
}

Task<void> SubmissionSession::Commit(Pending* pending, queue::Envelope envelope,
                                     queue::Octets content, MonoTime begun) {
  const QueueId id = envelope.id;
  const uint64_t octets = envelope.octets;
  const uint32_t chunks = envelope.chunks;
  const absl::Status accepted =
      co_await context_->acceptor->Accept(std::move(envelope), std::move(content), begun);
  if (accepted.ok()) {
    context_->stats->messages.Add();
    context_->stats->octets.Add(octets);
    machine_.MessageAccepted();
    pending->reply = fmt::format("250 2.0.0 Ok: queued as {}\r\n", id.ToString());
  } else {
    if (chunks > 1) context_->acceptor->Abandon(id, chunks - 1);
    machine_.MessageRefused();
    context_->stats->refused.Add();
    const std::string reply = QueueRefusal(accepted);
    pending->reply = reply + "\r\n";
    context_->logger->Warning(
        "smtpd", fmt::format("{}: queue refused the message from {}: {}", id.ToString(), client_,
                             Printable(std::string(accepted.message()), 300)));
  }
  pending->done = true;
  committed_.NotifyAll();
}

// --- Logs. ---

void SubmissionSession::LogRefusal() {
  context_->stats->refused.Add();
  if (!machine_.improper_input().empty()) {
    Log(fmt::format("improper command pipelining after {} from {}: {}", machine_.last_command(),
                    client_, machine_.improper_input()));
  }
  const bool rcpt = machine_.last_command() == "RCPT";
  Log(fmt::format(
      "{}: reject: {} from {}: {}; from=<{}>{} proto={} helo=<{}>", Where(),
      machine_.last_command(), client_, Printable(machine_.refusal(), 600),
      Printable(machine_.mail().reverse_path, 256),
      rcpt ? fmt::format(" to=<{}>", Printable(machine_.rcpt().forward_path, 256)) : std::string(),
      Protocol(), SafeHeloName(machine_.helo_name())));
}

// Once a session: who does it wrong does it always.
void SubmissionSession::LogLabelProblem() {
  if (message_.label_problem().empty() || std::exchange(label_problem_logged_, true)) return;
  context_->logger->Warning("cleanup", fmt::format("{}: {}, ignored; client={}", Where(),
                                                   message_.label_problem(), client_));
}

void SubmissionSession::LogGone(std::string_view how) {
  const std::string read = machine_.in_content()
                               ? fmt::format(" ({} bytes)", machine_.content().octets())
                               : std::string();
  Log(fmt::format("{} after {}{} from {}", how, machine_.last_command(), read, client_));
}

}  // namespace mailrace::engine
