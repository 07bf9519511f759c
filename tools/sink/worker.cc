#include "tools/sink/worker.h"

#include <utility>

namespace mailrace::sink {

using transport::uring::UringShard;

Worker::Worker(int index, const Parts& parts) : index_(index), parts_(parts) {}

absl::Status Worker::Start() {
  std::promise<absl::Status> opened;
  std::future<absl::Status> result = opened.get_future();
  thread_ = std::thread([this, promise = std::move(opened)]() mutable { Run(std::move(promise)); });
  absl::Status status = result.get();
  if (!status.ok()) thread_.join();
  return status;
}

void Worker::Run(std::promise<absl::Status> opened) {
  UringShard shard(parts_.clock);
  shard.OnWake([this] { Drain(); });
  if (absl::Status status = shard.Open(); !status.ok()) {
    opened.set_value(std::move(status));
    return;
  }
  TaskScope scope(&shard.loop());
  Event stopped(&shard.loop());
  random_.emplace(parts_.options->seed + static_cast<uint64_t>(index_));
  context_.dialogue = {parts_.options, parts_.faults, parts_.recorder,
                       &counters_,     &*random_,     parts_.clock};
  context_.loop = &shard.loop();
  context_.tls = parts_.tls;
  context_.stopped = &stopped;
  context_.on_full = parts_.on_full;
  shard_ = &shard;
  scope_ = &scope;
  {
    const std::lock_guard lock(mutex_);
    awake_ = &shard;
  }
  opened.set_value(absl::OkStatus());
  shard.Run([&] { return context_.stopping && scope.running() == 0; });
  {
    const std::lock_guard lock(mutex_);
    awake_ = nullptr;
  }
  cut_off_.reset();
  listener_.reset();
}

void Worker::Post(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
  if (calls_.size() == 1 && awake_ != nullptr) awake_->Wake();
}

void Worker::Drain() {
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (const std::function<void()>& call : calls) call();
}

absl::StatusOr<SocketAddress> Worker::Listen(std::function<void(transport::AcceptedPeer)> on_peer) {
  std::promise<absl::StatusOr<SocketAddress>> promise;
  std::future<absl::StatusOr<SocketAddress>> result = promise.get_future();
  Post([this, &promise, on_peer = std::move(on_peer)] {
    absl::StatusOr<std::unique_ptr<transport::Listener>> listener =
        shard_->network().Listen(parts_.options->listen);
    if (!listener.ok()) {
      promise.set_value(listener.status());
      return;
    }
    listener_ = *std::move(listener);
    on_peer_ = on_peer;
    accepting_ = true;
    scope_->Spawn(AcceptPeers());
    promise.set_value(listener_->local());
  });
  return result.get();
}

void Worker::StopListening(std::function<void()> then) {
  Post([this, then = std::move(then)] {
    if (!accepting_) return then();
    when_not_listening_ = then;
    listener_->Cancel();
  });
}

Task<void> Worker::AcceptPeers() {
  constexpr absl::Duration kPause = absl::Milliseconds(50);
  while (true) {
    const absl::StatusOr<transport::AcceptedPeer> peer = co_await listener_->Accept();
    if (peer.ok()) {
      on_peer_(*peer);
    } else if (absl::IsResourceExhausted(peer.status())) {
      // Until a session ends and gives back its descriptor.
      co_await SleepUntil(context_.loop, context_.loop->now() + kPause);
    } else {
      break;
    }
  }
  // Any other end than ours would leave a sink that serves nobody: it goes on with those
  // it has, and an operator sees the refused connections.
  accepting_ = false;
  if (when_not_listening_) when_not_listening_();
}

void Worker::Serve(transport::AcceptedPeer peer, uint64_t session) {
  Post([this, peer, session] {
    if (context_.stopping) {
      shard_->network().Discard(peer);
      return;
    }
    counters_.connections.Add();
    scope_->Spawn(
        RunSession(std::make_unique<Session>(&context_, shard_->network().Adopt(peer), session)));
  });
}

Task<void> Worker::RunSession(std::unique_ptr<Session> session) {
  sessions_.insert(session.get());
  co_await session->Run();
  sessions_.erase(session.get());
  counters_.connections_closed.Add();
}

void Worker::Stop() {
  Post([this] { BeginStop(); });
}

void Worker::BeginStop() {
  if (context_.stopping) return;
  context_.stopping = true;
  context_.stopped->NotifyAll();
  for (Session* session : sessions_) session->Stop();
  cut_off_ = std::make_unique<CallbackTimer>([this] {
    for (Session* session : sessions_) session->Cancel();
  });
  context_.loop->timers().Arm(cut_off_.get(), context_.loop->now() + kGrace);
}

void Worker::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace mailrace::sink
