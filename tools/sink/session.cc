#include "tools/sink/session.h"

#include <utility>

namespace mailrace::sink {

Session::Session(SessionContext* context, std::unique_ptr<transport::Connection> connection,
                 uint64_t number)
    : context_(context), stream_(std::move(connection)), dialogue_(&context->dialogue, number) {}

MonoTime Session::Deadline() const {
  return context_->loop->now() + context_->dialogue.options->timeout;
}

Task<void> Session::Run() {
  co_await Converse();
  co_await stream_.Shutdown(context_->loop->now() + absl::Seconds(1));
}

Task<void> Session::Converse() {
  if (context_->dialogue.options->implicit_tls) {
    const bool secured = co_await Secure();
    if (!secured) co_return;
  }
  Dialogue::Step step = dialogue_.Greet(&stream_.output());
  while (true) {
    const bool sent = co_await SendReplies();
    if (!sent || step == Dialogue::Step::kClose) co_return;
    if (step == Dialogue::Step::kStall) {
      co_await Stall();
      co_return;
    }
    if (step == Dialogue::Step::kStartTls) {
      const bool secured = co_await Secure();
      if (!secured) co_return;
    }
    const absl::StatusOr<bool> more = co_await stream_.Fill(Deadline());
    if (more.ok() && !*more) co_return;
    if (!more.ok()) {
      if (context_->stopping) {
        dialogue_.Leave("shutting down", &stream_.output());
      } else if (absl::IsDeadlineExceeded(more.status())) {
        dialogue_.Leave("idle for too long", &stream_.output());
      }
      co_await SendReplies();
      co_return;
    }
    step = dialogue_.Process(&stream_.input(), &stream_.output());
  }
}

Task<bool> Session::SendReplies() {
  if (stream_.output().empty()) co_return true;
  const absl::Duration delay = context_->dialogue.options->reply_delay;
  if (delay > absl::ZeroDuration() && !context_->stopping) {
    co_await context_->stopped->Wait(context_->loop->now() + delay);
  }
  const absl::Status sent = co_await stream_.Flush(Deadline());
  if (context_->on_full && context_->dialogue.recorder->full()) context_->on_full();
  co_return sent.ok() && !context_->stopping;
}

Task<bool> Session::Secure() {
  SinkCounters* counters = context_->dialogue.counters;
  absl::StatusOr<std::unique_ptr<transport::tls::Engine>> engine =
      transport::tls::Engine::Server(context_->tls);
  absl::Status status = engine.status();
  if (engine.ok()) status = co_await stream_.StartTls(*std::move(engine), Deadline());
  if (!status.ok()) {
    counters->tls_failures.Add();
    co_return false;
  }
  const transport::tls::Info& info = stream_.tls()->info();
  counters->tls_handshakes.Add();
  if (info.resumed) counters->tls_resumed.Add();
  dialogue_.TlsStarted(info.protocol, info.cipher);
  co_return true;
}

Task<void> Session::Stall() {
  while (!context_->stopping) {
    stream_.input().Clear();
    const absl::StatusOr<bool> more = co_await stream_.Fill(MonoTime::Infinite());
    if (!more.ok() || !*more) co_return;
  }
}

}  // namespace mailrace::sink
