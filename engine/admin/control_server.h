// The engine's end of the control socket: accepts administrators, reads one request
// each, writes what the handler says. Lives on one shard.
#pragma once

#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"
#include "transport/connection.h"
#include "transport/stream.h"

namespace mailrace::engine {

// Answers one request. Runs on the server's shard.
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  // Writes lines to stream->output() and may flush as it goes; the server flushes at
  // the end. `request` is one line as it came; what follows it is in stream->input().
  virtual Task<void> Handle(std::string request, transport::Stream* stream) = 0;
};

class ControlServer {
 public:
  // All borrowed; outlive the server.
  ControlServer(Loop* loop, transport::Network* network, ControlHandler* handler)
      : loop_(loop), network_(network), handler_(handler), tasks_(loop) {}

  void Start(std::unique_ptr<transport::Listener> listener);
  // Ends listening and sessions.
  void Stop();
  // After Stop(): awaits the end of all sessions.
  Task<void> Join();

  static constexpr size_t kSessionsMax = 32;

 private:
  Task<void> AcceptLoop();
  Task<void> Serve(transport::AcceptedPeer peer);

  Loop* const loop_;
  transport::Network* const network_;
  ControlHandler* const handler_;
  TaskScope tasks_;
  std::unique_ptr<transport::Listener> listener_;
  absl::flat_hash_set<transport::Stream*> streams_;
  bool stopping_ = false;
};

}  // namespace mailrace::engine
