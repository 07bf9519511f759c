#include "tools/blast/client.h"

#include <utility>

#include "fmt/format.h"
#include "transport/sasl/client.h"
#include "transport/smtp/auth_exchange.h"

namespace mailrace::blast {

using transport::smtp::AuthExchange;
using transport::smtp::Capabilities;
using transport::smtp::Reply;
using transport::smtp::ReplyParser;

namespace {

absl::Status At(std::string_view step, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", step, std::string(status.message())));
}

absl::Status Refused(std::string_view step, const Reply& reply) {
  return absl::UnavailableError(fmt::format("{}: {}", step, reply.ToString()));
}

}  // namespace

void Client::Cancel() {
  cancelled_ = true;
  if (stream_ != nullptr) stream_->Cancel();
}

Task<absl::Status> Client::Open(transport::tls::SessionPtr resume) {
  const BlastOptions& options = *context_->options;
  absl::StatusOr<std::unique_ptr<transport::Connection>> connection =
      co_await context_->network->Connect(options.server, std::nullopt, Deadline());
  if (!connection.ok()) co_return At("connect", connection.status());
  stream_ = std::make_unique<transport::Stream>(*std::move(connection));
  if (cancelled_) stream_->Cancel();

  absl::Status status;
  if (options.implicit_tls) status = co_await Secure(resume);
  if (status.ok()) status = co_await ExpectPositive("greeting");
  if (status.ok()) status = co_await Ehlo();
  if (status.ok() && options.tls) {
    if (!capabilities_.starttls) co_return absl::UnavailableError("STARTTLS is not offered");
    status = co_await Say("STARTTLS");
    if (status.ok()) status = co_await Secure(std::move(resume));
    if (status.ok()) status = co_await Ehlo();
  }
  if (status.ok() && !options.user.empty()) status = co_await Authenticate();
  co_return status;
}

Task<absl::Status> Client::Secure(transport::tls::SessionPtr resume) {
  transport::tls::ClientEngineOptions options;
  const absl::StatusOr<IpAddress> literal = IpAddress::Parse(context_->options->server_name);
  if (literal.ok()) {
    options.match_ip = *literal;
  } else {
    options.server_name = context_->options->server_name;
    options.match_names = {context_->options->server_name};
  }
  options.resume = std::move(resume);
  absl::StatusOr<std::unique_ptr<transport::tls::Engine>> engine =
      transport::tls::Engine::Client(context_->tls, options);
  if (!engine.ok()) co_return At("TLS", engine.status());
  const absl::Status status = co_await stream_->StartTls(*std::move(engine), Deadline());
  if (!status.ok()) co_return At("TLS handshake", status);
  const transport::tls::Info& info = stream_->tls()->info();
  if (context_->options->ca_file.empty() || info.verified()) co_return absl::OkStatus();
  co_return absl::UnauthenticatedError(
      fmt::format("TLS: the certificate is not to be trusted: {}",
                  info.chain_trusted ? "it bears another name" : info.verify_problem));
}

Task<absl::Status> Client::Ehlo() {
  const absl::Status status = co_await Say("EHLO " + context_->options->helo_name);
  if (status.ok()) capabilities_ = Capabilities::Parse(last_reply_);
  co_return status;
}

Task<absl::Status> Client::Authenticate() {
  const BlastOptions& options = *context_->options;
  mechanism_ = options.mechanism.empty()
                   ? transport::sasl::ChooseMechanism(capabilities_.auth_mechanisms, {}, false)
                   : options.mechanism;
  if (mechanism_.empty()) co_return absl::UnavailableError("AUTH: no usable mechanism is offered");
  absl::StatusOr<std::unique_ptr<transport::sasl::Client>> sasl = transport::sasl::Client::Start(
      mechanism_, {options.user, options.password}, options.server_name, "");
  if (!sasl.ok()) co_return At("AUTH", sasl.status());
  AuthExchange exchange(mechanism_, options.server.ToString(), sasl->get());
  parser_.set_line_octets_max(AuthExchange::kChallengeOctetsMax + 4);
  AuthExchange::State state = exchange.Begin(&stream_->output());
  while (state == AuthExchange::State::kReadReply) {
    const absl::StatusOr<Reply> reply = co_await ReadReply();
    if (!reply.ok()) co_return At("AUTH", reply.status());
    last_reply_ = *reply;
    state = exchange.Answer(*reply, &stream_->output());
  }
  parser_.set_line_octets_max(ReplyParser::kLineOctetsMax);
  if (state == AuthExchange::State::kSucceeded) co_return absl::OkStatus();
  co_return Refused("AUTH " + mechanism_, last_reply_);
}

Task<absl::Status> Client::Say(std::string line) {
  stream_->output().Append(line);
  stream_->output().Append("\r\n");
  const absl::Status status = co_await ExpectPositive(line.substr(0, line.find(' ')));
  co_return status;
}

Task<absl::Status> Client::ExpectPositive(std::string step) {
  absl::StatusOr<Reply> reply = co_await ReadReply();
  if (!reply.ok()) co_return At(step, reply.status());
  last_reply_ = *std::move(reply);
  if (!last_reply_.positive()) co_return Refused(step, last_reply_);
  co_return absl::OkStatus();
}

Task<absl::StatusOr<Reply>> Client::ReadReply() {
  if (!stream_->output().empty()) {
    const absl::Status sent = co_await stream_->Flush(Deadline());
    // What the server said before it left tells more than the broken pipe: read on.
    if (absl::IsCancelled(sent)) co_return sent;
  }
  while (true) {
    std::string_view rest = stream_->input().view();
    const size_t octets = rest.size();
    const ReplyParser::State state = parser_.Feed(&rest);
    stream_->input().Consume(octets - rest.size());
    if (state == ReplyParser::State::kProtocolError) {
      co_return absl::InvalidArgumentError(parser_.problem());
    }
    if (state == ReplyParser::State::kComplete) break;
    const absl::StatusOr<bool> more = co_await stream_->Fill(Deadline());
    if (!more.ok()) co_return more.status();
    if (!*more) co_return absl::UnavailableError("the server closed the connection");
  }
  Reply reply = parser_.TakeReply();
  constexpr int kServiceNotAvailable = 421;
  if (reply.code == kServiceNotAvailable) co_return absl::UnavailableError(reply.ToString());
  co_return reply;
}

Task<void> Client::Quit() {
  stream_->output().Append("QUIT\r\n");
  const absl::StatusOr<Reply> ignored = co_await ReadReply();
  if (ignored.ok()) co_await stream_->Shutdown(Deadline());
}

}  // namespace mailrace::blast
