#include "engine/admin/control_server.h"

#include <utility>

#include "engine/admin/control_protocol.h"

namespace mailrace::engine {

namespace {

constexpr absl::Duration kRequestTimeout = absl::Seconds(10);
constexpr absl::Duration kAcceptPause = absl::Milliseconds(200);

}  // namespace

void ControlServer::Start(std::unique_ptr<transport::Listener> listener) {
  listener_ = std::move(listener);
  tasks_.Spawn(AcceptLoop());
}

void ControlServer::Stop() {
  stopping_ = true;
  if (listener_ != nullptr) listener_->Cancel();
  for (transport::Stream* stream : streams_) stream->Cancel();
}

Task<void> ControlServer::Join() { co_await tasks_.Join(); }

Task<void> ControlServer::AcceptLoop() {
  while (!stopping_) {
    absl::StatusOr<transport::AcceptedPeer> peer = co_await listener_->Accept();
    if (!peer.ok()) {
      if (absl::IsCancelled(peer.status())) break;
      // No descriptors: wait for some instead of spinning.
      co_await SleepUntil(loop_, loop_->now() + kAcceptPause);
      continue;
    }
    if (streams_.size() >= kSessionsMax) {
      network_->Discard(*peer);
      continue;
    }
    tasks_.Spawn(Serve(*peer));
  }
  listener_.reset();
}

Task<void> ControlServer::Serve(transport::AcceptedPeer peer) {
  transport::Stream stream(network_->Adopt(peer));
  streams_.insert(&stream);
  const MonoTime deadline = loop_->now() + kRequestTimeout;
  size_t end = std::string_view::npos;
  while (true) {
    end = stream.input().view().find('\n');
    if (end != std::string_view::npos || stream.input().size() > kControlRequestOctetsMax) break;
    const absl::StatusOr<bool> filled = co_await stream.Fill(deadline);
    if (!filled.ok() || !*filled) break;
  }
  if (end == std::string_view::npos && stream.input().size() > kControlRequestOctetsMax) {
    stream.output().Append("{\"error\":\"the request is longer than 1 MiB\"}\n");
    const absl::Status told = co_await stream.Flush(loop_->now() + kRequestTimeout);
    static_cast<void>(told.ok());
  }
  if (end != std::string_view::npos) {
    std::string request(stream.input().view().substr(0, end));
    stream.input().Consume(end + 1);
    co_await handler_->Handle(std::move(request), &stream);
    const absl::Status flushed = co_await stream.Flush(loop_->now() + kRequestTimeout);
    static_cast<void>(flushed.ok());  // The administrator went away: nobody to tell.
  }
  streams_.erase(&stream);
}

}  // namespace mailrace::engine
