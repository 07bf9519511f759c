#include "transport/smtp/client_session.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "fmt/format.h"
#include "transport/smtp/auth_exchange.h"
#include "transport/smtp/chunk_reader.h"
#include "transport/smtp/command_writer.h"
#include "transport/smtp/stream_failure.h"

namespace mailrace::transport::smtp {

namespace {

constexpr int kServiceReady = 220;
constexpr int kCompleted = 250;
constexpr int kServiceClosing = 421;

// A reply other than the one that goes on: a refusal, or, if it is neither 4xx nor 5xx,
// a sign that the peer speaks something else.
Failure Refused(Step step, Reply reply) {
  Failure failure{Failure::Kind::kReply, step, std::move(reply)};
  if (!failure.reply->transient() && !failure.reply->permanent()) {
    failure.kind = Failure::Kind::kProtocol;
    failure.text =
        fmt::format("unexpected reply to {}: {}", StepCommand(step), failure.reply->ToString());
  }
  return failure;
}

bool SaysEsmtp(const Reply& greeting) {
  for (std::string_view rest : greeting.lines) {
    while (!rest.empty()) {
      const size_t end = std::min(rest.find_first_of(" \t"), rest.size());
      if (EqualsIgnoreCase(rest.substr(0, end), "ESMTP")) return true;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return false;
}

}  // namespace

ClientSession::ClientSession(Loop* loop, std::unique_ptr<Stream> stream,
                             ClientSessionOptions options)
    : loop_(loop), stream_(std::move(stream)), options_(std::move(options)) {
  if (options_.tolerance == nullptr) options_.tolerance = std::make_shared<Tolerance>();
}

ClientSession::~ClientSession() = default;

std::optional<Failure> ClientSession::Note(std::optional<Failure> failure) {
  if (!failure) return failure;
  // A server that says 421 closes: it reads no QUIT (RFC 5321 3.8).
  const bool closing = failure->reply && failure->reply->code == kServiceClosing;
  if (failure->kind != Failure::Kind::kReply || closing) dead_ = true;
  return failure;
}

ReplyParser::State ClientSession::ParseInput() {
  Buffer& input = stream_->input();
  std::string_view octets = input.view();
  const size_t before = octets.size();
  const ReplyParser::State state = parser_.Feed(&octets);
  input.Consume(before - octets.size());
  return state;
}

std::optional<Failure> ClientSession::OutOfTurn(Step step) {
  if (stream_->input().empty()) return std::nullopt;
  Failure failure{Failure::Kind::kProtocol, step, std::nullopt, "the server spoke out of turn"};
  if (ParseInput() == ReplyParser::State::kComplete) {
    failure.reply = parser_.TakeReply();
    if (failure.reply->code == kServiceClosing) failure.kind = Failure::Kind::kReply;
  }
  return failure;
}

Task<std::optional<Failure>> ClientSession::ReadReply(Step step, absl::Duration timeout) {
  const MonoTime deadline = loop_->now() + timeout;
  while (true) {
    const ReplyParser::State state = ParseInput();
    if (state == ReplyParser::State::kComplete) {
      reply_ = parser_.TakeReply();
      co_return std::nullopt;
    }
    if (state == ReplyParser::State::kProtocolError) {
      co_return Failure{Failure::Kind::kProtocol, step, std::nullopt, parser_.problem()};
    }
    const absl::StatusOr<bool> more = co_await stream_->Fill(deadline);
    if (!more.ok()) co_return StreamFailure(more.status(), step);
    if (!*more) {
      co_return Failure{Failure::Kind::kLost, step, std::nullopt, "connection closed by peer"};
    }
  }
}

Task<std::optional<Failure>> ClientSession::Exchange(Step step, absl::Duration timeout) {
  if (std::optional<Failure> failure = OutOfTurn(step)) {
    stream_->output().Clear();
    co_return failure;
  }
  const MonoTime begin = loop_->now();
  const absl::Status status = co_await stream_->Flush(begin + timeout);
  if (!status.ok()) co_return StreamFailure(status, step);
  std::optional<Failure> failure = co_await ReadReply(step, timeout - (loop_->now() - begin));
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::ReadGreeting() {
  std::optional<Failure> failure = co_await ReadReply(Step::kGreeting, options_.timeouts.greeting);
  if (!failure && reply_.code != kServiceReady) failure = Refused(Step::kGreeting, reply_);
  if (!failure) greeted_with_esmtp_ = SaysEsmtp(reply_);
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::Ehlo() {
  capabilities_ = Capabilities();
  WriteCommand("EHLO", options_.helo_name, &stream_->output());
  std::optional<Failure> failure = co_await Exchange(Step::kEhlo, options_.timeouts.helo);
  if (!failure && reply_.code != kCompleted) failure = Refused(Step::kEhlo, reply_);
  if (!failure) {
    capabilities_ = Capabilities::Parse(reply_, options_.discard_ehlo_keywords);
    server_name_ = reply_.lines[0].substr(0, reply_.lines[0].find(' '));
  }
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::Helo() {
  capabilities_ = Capabilities();
  WriteCommand("HELO", options_.helo_name, &stream_->output());
  std::optional<Failure> failure = co_await Exchange(Step::kHelo, options_.timeouts.helo);
  if (!failure && reply_.code != kCompleted) failure = Refused(Step::kHelo, reply_);
  if (!failure) server_name_ = reply_.lines[0].substr(0, reply_.lines[0].find(' '));
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::Handshake(std::unique_ptr<tls::Engine> engine) {
  const MonoTime deadline = loop_->now() + options_.timeouts.starttls;
  const absl::Status status = co_await stream_->StartTls(std::move(engine), deadline);
  if (status.ok()) co_return std::nullopt;
  Failure failure = StreamFailure(status, Step::kTlsHandshake);
  // What is not the connection's own trouble is the library's reason.
  if (failure.kind == Failure::Kind::kLost && !absl::IsUnavailable(status)) {
    failure.kind = Failure::Kind::kTls;
  }
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::StartTls(std::unique_ptr<tls::Engine> engine) {
  WriteCommand("STARTTLS", "", &stream_->output());
  std::optional<Failure> failure = co_await Exchange(Step::kStartTls, options_.timeouts.starttls);
  if (!failure && reply_.code != kServiceReady) failure = Refused(Step::kStartTls, reply_);
  if (!failure && !stream_->input().empty()) {
    // Anyone on the path can append replies to the 220; under TLS they would pass for the
    // server's own.
    failure = Failure{Failure::Kind::kProtocol, Step::kStartTls, std::nullopt,
                      "clear text behind the reply to STARTTLS"};
  }
  if (failure) co_return Note(std::move(failure));
  // RFC 3207 4.2: forget what was learned in clear.
  capabilities_ = Capabilities();
  server_name_.clear();
  failure = co_await Handshake(std::move(engine));
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::WrapTls(std::unique_ptr<tls::Engine> engine) {
  std::optional<Failure> failure = co_await Handshake(std::move(engine));
  co_return Note(std::move(failure));
}

Task<void> ClientSession::AnswerAuth(AuthExchange* exchange, sasl::Client* client,
                                     AuthExchange::State* state) {
  const std::string key = exchange->SaltingKey(reply_);
  if (key.empty()) {
    *state = exchange->Answer(reply_, &stream_->output());
    co_return;
  }
  sasl::SaltedPasswords* const known = options_.salted_passwords;
  const std::string salted = known == nullptr ? std::string() : known->Find(key);
  if (!salted.empty()) {
    client->UseSalted(salted);
    *state = exchange->Answer(reply_, &stream_->output());
    co_return;
  }
  // The helper's own buffer: ours may be looked at meanwhile.
  Buffer answer;
  co_await RunElsewhere(options_.helper, loop_, [exchange, state, reply = reply_, &answer] {
    *state = exchange->Answer(reply, &answer);
  });
  stream_->output().Append(answer.view());
  if (known != nullptr) known->Put(key, client->salted());
}

Task<std::optional<Failure>> ClientSession::Authenticate(std::string mechanism,
                                                         sasl::Credentials credentials,
                                                         std::string service_host) {
  const std::string server = fmt::format("{}[{}]", service_host, stream_->remote().ip.ToString());
  const std::string channel_binding =
      stream_->tls() == nullptr ? std::string() : stream_->tls()->ChannelBinding();
  const auto client = sasl::Client::Start(mechanism, credentials, service_host, channel_binding);
  if (!client.ok()) {
    Failure failure{Failure::Kind::kSasl, Step::kAuth};
    failure.text = fmt::format("SASL authentication failed; cannot authenticate to server {}: {}",
                               server, StatusText(client.status()));
    co_return Note(std::move(failure));
  }
  AuthExchange exchange(std::move(mechanism), server, client->get());
  // "334 " and the challenge.
  parser_.set_line_octets_max(4 + AuthExchange::kChallengeOctetsMax);
  std::optional<Failure> failure;
  AuthExchange::State state = exchange.Begin(&stream_->output());
  while (state == AuthExchange::State::kReadReply && !failure) {
    failure = co_await Exchange(Step::kAuth, options_.timeouts.auth);
    if (failure) break;
    co_await AnswerAuth(&exchange, client->get(), &state);
  }
  parser_.set_line_octets_max(ReplyParser::kLineOctetsMax);
  // Challenges and responses do not stay behind.
  reply_ = Reply();
  if (!failure && state == AuthExchange::State::kFailed) failure = exchange.failure();
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::Try(Step step, std::string verb, std::string argument,
                                                absl::Duration timeout) {
  // What would break out of the line is no address.
  if (argument.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    co_return Failure{Failure::Kind::kLocal, step, std::nullopt, "control character in address"};
  }
  WriteCommand(verb, argument, &stream_->output());
  std::optional<Failure> failure = co_await Exchange(step, timeout);
  if (!failure && reply_.code / 100 != 2) failure = Refused(step, reply_);
  co_return Note(std::move(failure));
}

Task<std::optional<Failure>> ClientSession::TryMail(std::string reverse_path) {
  std::optional<Failure> failure = co_await Try(
      Step::kMail, "MAIL", fmt::format("FROM:<{}>", reverse_path), options_.timeouts.mail);
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::TryRcpt(std::string forward_path) {
  std::optional<Failure> failure = co_await Try(
      Step::kRcpt, "RCPT", fmt::format("TO:<{}>", forward_path), options_.timeouts.rcpt);
  co_return failure;
}

Task<std::optional<Failure>> ClientSession::TryReset() {
  std::optional<Failure> failure = co_await Try(Step::kRset, "RSET", "", options_.timeouts.rset);
  co_return failure;
}

Task<bool> ClientSession::AwaitIdle(MonoTime deadline) {
  used_before_ = true;
  if (dead_ || !stream_->input().empty()) {
    dead_ = true;
    co_return false;
  }
  awaiting_idle_ = true;
  const absl::StatusOr<bool> more = co_await stream_->Fill(deadline);
  awaiting_idle_ = false;
  const bool undisturbed =
      absl::IsDeadlineExceeded(more.status()) || (absl::IsCancelled(more.status()) && !cancelled_);
  // Anything that an idle server says is 421 or nonsense; the pool drops the session.
  if (!undisturbed) dead_ = true;
  co_return undisturbed;
}

void ClientSession::Interrupt() {
  if (awaiting_idle_) stream_->CancelRead();
}

Task<void> ClientSession::Quit() {
  if (dead_) co_return;
  dead_ = true;
  const MonoTime deadline = loop_->now() + options_.timeouts.quit;
  WriteCommand("QUIT", "", &stream_->output());
  const absl::Status status = co_await stream_->Flush(deadline);
  if (status.ok() && options_.await_quit_reply) {
    // Whatever it is: there is nothing left that it could change.
    [[maybe_unused]] const std::optional<Failure> reply =
        co_await ReadReply(Step::kQuit, deadline - loop_->now());
  }
  // RFC 5321 4.1.1.10 lets us close without the 221; whoever does not even take the QUIT
  // will not take a close_notify.
  if (status.ok()) co_await stream_->Shutdown(deadline);
}

void ClientSession::Cancel() {
  cancelled_ = true;
  stream_->Cancel();
}

}  // namespace mailrace::transport::smtp
