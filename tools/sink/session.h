// One connection to a sink: carries octets between a stream and its dialogue.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"
#include "tools/sink/dialogue.h"
#include "transport/stream.h"
#include "transport/tls/context.h"

namespace mailrace::sink {

// What the sessions of one thread share beyond their dialogues' context.
struct SessionContext {
  DialogueContext dialogue;
  Loop* loop = nullptr;
  std::shared_ptr<const transport::tls::Context> tls;  // Null: no TLS.
  bool stopping = false;
  Event* stopped = nullptr;       // Notified when `stopping` is set.
  std::function<void()> on_full;  // --max-messages is reached and answered.
};

class Session {
 public:
  // `context` is borrowed and outlives the session.
  Session(SessionContext* context, std::unique_ptr<transport::Connection> connection,
          uint64_t number);

  // Once. Ends when the session is over.
  Task<void> Run();
  // An idle session says 421 and ends; one that is sending sends to the end.
  void Stop() { stream_.CancelRead(); }
  // Ends Run() at once.
  void Cancel() { stream_.Cancel(); }

 private:
  Task<bool> Secure();
  Task<bool> SendReplies();
  // Reads until the peer gives up.
  Task<void> Stall();
  Task<void> Converse();
  MonoTime Deadline() const;

  SessionContext* const context_;
  transport::Stream stream_;
  Dialogue dialogue_;
};

}  // namespace mailrace::sink
