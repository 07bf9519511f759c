#include "engine/intake/submission_server.h"

#include <algorithm>
#include <utility>

#include "engine/intake/trace_header.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

constexpr absl::Duration kShortestPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
constexpr absl::Duration kFarewellTime = absl::Seconds(1);
// Refusals under way; a flood beyond it is closed without a word.
constexpr size_t kTurnedAwayMax = 64;

}  // namespace

// --- SubmissionListener. ---

SubmissionListener::SubmissionListener(const SubmissionContext* context,
                                       transport::Network* network, PeerSink sink)
    : context_(context),
      network_(network),
      sink_(std::move(sink)),
      loops_(context->loop),
      stop_(context->loop) {}

SubmissionListener::~SubmissionListener() = default;

absl::Status SubmissionListener::Listen(SocketAddress address, bool implicit_tls) {
  absl::StatusOr<std::unique_ptr<transport::Listener>> listener = network_->Listen(address);
  if (!listener.ok()) {
    return absl::Status(listener.status().code(),
                        fmt::format("cannot listen on {}: {}", address.ToString(),
                                    std::string(listener.status().message())));
  }
  doors_.push_back({std::move(*listener), implicit_tls});
  loops_.Spawn(AcceptLoop(&doors_.back()));
  return absl::OkStatus();
}

std::vector<SocketAddress> SubmissionListener::addresses() const {
  std::vector<SocketAddress> addresses;
  for (const Door& door : doors_) addresses.push_back(door.listener->local());
  return addresses;
}

Task<void> SubmissionListener::AcceptLoop(Door* door) {
  absl::Duration pause = kShortestPause;
  while (!stopping_) {
    const absl::StatusOr<transport::AcceptedPeer> peer = co_await door->listener->Accept();
    if (peer.ok()) {
      pause = kShortestPause;
      sink_(*peer, door->implicit_tls);
      continue;
    }
    if (stopping_ || absl::IsCancelled(peer.status())) co_return;
    // Descriptors ran out, or a peer went away before it was accepted. Asking again at
    // once would spin; waiting peers stay in the kernel's queue.
    if (pause == kShortestPause) {
      context_->stats->accept_pauses.Add();
      context_->logger->Warning(
          "smtpd", fmt::format("accept on {} paused: {}", door->listener->local().ToString(),
                               std::string(peer.status().message())));
    }
    const bool stopped = co_await stop_.Wait(context_->loop->now() + pause);
    if (stopped) co_return;
    pause = std::min(pause * 2, kLongestPause);
  }
}

Task<void> SubmissionListener::Stop() {
  stopping_ = true;
  for (const Door& door : doors_) door.listener->Cancel();
  stop_.NotifyAll();
  co_await loops_.Join();
  doors_.clear();
}

// --- SubmissionServer. ---

SubmissionServer::SubmissionServer(const SubmissionContext* context, transport::Network* network,
                                   std::shared_ptr<const IntakeOptions> options)
    : context_(context),
      network_(network),
      options_(std::move(options)),
      scope_(context->loop),
      ended_(context->loop) {}

SubmissionServer::~SubmissionServer() = default;

void SubmissionServer::Serve(transport::AcceptedPeer peer, bool implicit_tls) {
  const std::string client = peer.remote.ip.ToString();
  // As in Postfix, the limit of one client is not for mynetworks.
  const size_t limit = options_->mynetworks.Contains(peer.remote.ip)
                           ? 0
                           : options_->smtpd_client_connection_count_limit;
  const bool full = stopping_ || sessions_.size() >= options_->sessions_max;
  if (full || !context_->clients->Enter(client, limit)) {
    context_->stats->sessions_refused.Add();
    if (turned_away_ >= kTurnedAwayMax || implicit_tls) {
      network_->Discard(peer);
      return;
    }
    const std::string reply =
        stopping_
            ? fmt::format("421 4.3.2 {} Service shutting down, try later\r\n", options_->myhostname)
            : fmt::format("421 4.7.0 {} Error: too many connections from {}\r\n",
                          options_->myhostname, client);
    ++turned_away_;
    scope_.Spawn(TurnAway(network_->Adopt(peer), reply));
    return;
  }
  auto stream = std::make_unique<transport::Stream>(network_->Adopt(peer));
  sessions_.push_front(std::make_unique<SubmissionSession>(context_, options_, std::move(stream)));
  scope_.Spawn(RunSession(sessions_.begin(), peer.remote.ip, implicit_tls));
}

Task<void> SubmissionServer::RunSession(Sessions::iterator session, IpAddress peer,
                                        bool implicit_tls) {
  co_await (*session)->Run(implicit_tls);
  sessions_.erase(session);
  context_->clients->Leave(peer.ToString());
  ended_.NotifyAll();
}

Task<void> SubmissionServer::TurnAway(std::unique_ptr<transport::Connection> connection,
                                      std::string reply) {
  const absl::Status sent =
      co_await connection->Write(reply, context_->loop->now() + kFarewellTime);
  static_cast<void>(sent);  // A courtesy.
  --turned_away_;
  ended_.NotifyAll();
}

// True when the last session ended within `time`.
Task<bool> SubmissionServer::AwaitEmpty(absl::Duration time, bool hurries) {
  const MonoTime end = context_->loop->now() + time;
  while (!sessions_.empty() && !(hurries && in_a_hurry_)) {
    const bool notified = co_await ended_.Wait(end);
    if (!notified) break;
  }
  co_return sessions_.empty();
}

void SubmissionServer::StopNow() {
  in_a_hurry_ = true;
  ended_.NotifyAll();
}

Task<void> SubmissionServer::Stop(absl::Duration grace) {
  stopping_ = true;
  for (const auto& session : sessions_) session->Stop();
  bool empty = co_await AwaitEmpty(grace, true);
  if (!empty) {
    for (const auto& session : sessions_) session->StopNow();
    empty = co_await AwaitEmpty(kFarewellTime, false);
  }
  for (const auto& session : sessions_) session->Cancel();
  co_await scope_.Join();
}

}  // namespace mailrace::engine
