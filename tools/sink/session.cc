#include "tools/sink/session.h"

#include <utility>

namespace mailrace::sink {

namespace {

// Timers are as exact as a tick of the wheel.
constexpr absl::Duration kTick = absl::Milliseconds(1);

// Back in the loop's next turn.
struct NextTurn {
  Loop* loop;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) { loop->Resume(handle); }
  void await_resume() const {}
};

}  // namespace

Session::Session(SessionContext* context, std::unique_ptr<transport::Connection> connection,
                 uint64_t number)
    : context_(context),
      stream_(std::move(connection)),
      dialogue_(&context->dialogue, number),
      carrier_(context->loop) {}

MonoTime Session::Deadline() const {
  return context_->loop->now() + context_->dialogue.options->timeout;
}

Task<void> Session::Run() {
  co_await Converse();
  co_await carrier_.Join();
  co_await stream_.Shutdown(context_->loop->now() + absl::Seconds(1));
}

Task<void> Session::Converse() {
  if (context_->dialogue.options->implicit_tls) {
    const bool secured = co_await Secure();
    if (!secured) co_return;
  }
  Dialogue::Step step = dialogue_.Greet(&replies_);
  while (true) {
    const bool sent = co_await SendReplies();
    if (!sent || step == Dialogue::Step::kClose) co_return;
    if (step == Dialogue::Step::kStall) {
      co_await Stall();
      co_return;
    }
    if (step == Dialogue::Step::kStartTls) {
      co_await carrier_.Join();
      const bool secured = co_await Secure();
      if (!secured) co_return;
    }
    const absl::StatusOr<bool> more = co_await stream_.Fill(Deadline());
    if (more.ok() && !*more) co_return;
    if (!more.ok()) {
      if (context_->stopping) {
        dialogue_.Leave("shutting down", &replies_);
      } else if (absl::IsDeadlineExceeded(more.status())) {
        dialogue_.Leave("idle for too long", &replies_);
      }
      co_await SendReplies();
      co_return;
    }
    step = dialogue_.Process(&stream_.input(), &replies_);
  }
}

Task<bool> Session::SendReplies() {
  if (replies_.empty()) co_return true;
  const absl::Duration distance = context_->dialogue.options->distance;
  if (distance > absl::ZeroDuration() && stream_.tls() == nullptr) {
    travelling_.push_back({context_->loop->clock().Mono() + distance, std::move(replies_)});
    if (carrier_.running() == 0) carrier_.Spawn(Carry());
    co_return !context_->stopping;
  }
  const absl::Duration delay = context_->dialogue.options->reply_delay;
  if (delay > absl::ZeroDuration() && !context_->stopping) {
    co_await context_->stopped->Wait(context_->loop->now() + delay);
  }
  stream_.output().Append(replies_.view());
  replies_.Clear();
  const absl::Status sent = co_await stream_.Flush(Deadline());
  if (context_->on_full && context_->dialogue.recorder->full()) context_->on_full();
  co_return sent.ok() && !context_->stopping;
}

Task<void> Session::Carry() {
  while (!travelling_.empty()) {
    // What is measured by it is a distance: a tick more would be a part of each round trip.
    const MonoTime due = travelling_.front().due;
    co_await SleepUntil(context_->loop, due + -2 * kTick);
    while (context_->loop->clock().Mono() < due) co_await NextTurn{context_->loop};
    stream_.output().Append(travelling_.front().replies.view());
    travelling_.pop_front();
    const absl::Status sent = co_await stream_.Flush(Deadline());
    if (!sent.ok()) travelling_.clear();
    if (context_->on_full && context_->dialogue.recorder->full()) context_->on_full();
  }
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
