// One connection to a sink: carries octets between a stream and its dialogue.
#pragma once

#include <cstdint>
#include <deque>
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
  // Sends what is on its way when it is due.
  Task<void> Carry();
  // Reads until the peer gives up.
  Task<void> Stall();
  Task<void> Converse();
  MonoTime Deadline() const;

  // Replies on their way from a server that is far away.
  struct Travelling {
    MonoTime due;
    Buffer replies;
  };

  SessionContext* const context_;
  transport::Stream stream_;
  Dialogue dialogue_;
  Buffer replies_;  // What the dialogue says next.
  std::deque<Travelling> travelling_;
  TaskScope carrier_;  // Runs Carry() while something travels.
};

}  // namespace mailrace::sink
