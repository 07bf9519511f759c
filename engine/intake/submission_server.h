// The intake's front door: listeners that accept, and per shard the sessions.
//
// SubmissionListener runs on one shard and hands every accepted peer to a callback,
// which chooses a shard; there SubmissionServer::Serve makes it a session.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/sync.h"
#include "engine/intake/submission_session.h"
#include "transport/connection.h"

namespace mailrace::engine {

// Lives on the shard whose network it listens on.
class SubmissionListener {
 public:
  // Takes over the peer (to adopt or to discard it). `implicit_tls`: of the listener.
  using PeerSink = std::function<void(transport::AcceptedPeer peer, bool implicit_tls)>;

  // All borrowed; they outlive the listener.
  SubmissionListener(const SubmissionContext* context, transport::Network* network, PeerSink sink);
  // REQUIRES: Stop() has been awaited if Listen() succeeded.
  ~SubmissionListener();

  // Listens and begins to accept. The error names the address.
  absl::Status Listen(SocketAddress address, bool implicit_tls);
  // Where it listens, in the order of Listen(), with the ports that the system chose.
  std::vector<SocketAddress> addresses() const;
  // Accepts nobody any more and closes the listening sockets.
  Task<void> Stop();

 private:
  struct Door {
    std::unique_ptr<transport::Listener> listener;
    bool implicit_tls = false;
  };
  Task<void> AcceptLoop(Door* door);

  const SubmissionContext* const context_;
  transport::Network* const network_;
  const PeerSink sink_;
  std::list<Door> doors_;
  TaskScope loops_;
  Event stop_;
  bool stopping_ = false;
};

// Lives on one shard.
class SubmissionServer {
 public:
  // `context` and `network` are borrowed and outlive the server.
  SubmissionServer(const SubmissionContext* context, transport::Network* network,
                   std::shared_ptr<const IntakeOptions> options);
  // REQUIRES: Stop() has been awaited if Serve() was called.
  ~SubmissionServer();

  // Sessions from now on have these; running ones keep theirs.
  void Reconfigure(std::shared_ptr<const IntakeOptions> options) { options_ = std::move(options); }

  // Begins a session with the peer, or refuses it with 421 when a limit is reached.
  void Serve(transport::AcceptedPeer peer, bool implicit_tls);
  size_t sessions() const { return sessions_.size(); }

  // Clients between two messages get 421 at once, others after their message or when
  // `grace` is over; whoever is still there a second later is cut off.
  Task<void> Stop(absl::Duration grace);
  // While Stop is awaited: the grace is over.
  void StopNow();

 private:
  using Sessions = std::list<std::unique_ptr<SubmissionSession>>;
  Task<void> RunSession(Sessions::iterator session, IpAddress peer, bool implicit_tls);
  Task<void> TurnAway(std::unique_ptr<transport::Connection> connection, std::string reply);
  Task<bool> AwaitEmpty(absl::Duration time, bool hurries);

  const SubmissionContext* const context_;
  transport::Network* const network_;
  std::shared_ptr<const IntakeOptions> options_;
  Sessions sessions_;
  TaskScope scope_;
  Event ended_;
  size_t turned_away_ = 0;  // Refusals being written.
  bool stopping_ = false;
  bool in_a_hurry_ = false;
};

}  // namespace mailrace::engine
