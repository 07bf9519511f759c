// One client submitting mail: the SMTP server's dialogue over a Stream, from greeting to
// close. Messages go to the Acceptor; 250 is said only after it said that the message is
// durable. Lives on one shard; owned by SubmissionServer.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "base/logger.h"
#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"
#include "engine/intake/acceptor.h"
#include "engine/intake/client_counts.h"
#include "engine/intake/incoming_message.h"
#include "engine/intake/intake_options.h"
#include "engine/intake/intake_stats.h"
#include "engine/intake/submission_auth.h"
#include "transport/smtp/server_machine.h"
#include "transport/stream.h"

namespace mailrace::engine {

// What a session works with: all of it outlives the session.
struct SubmissionContext {
  Loop* loop = nullptr;
  Acceptor* acceptor = nullptr;
  Logger* logger = nullptr;
  IntakeStats* stats = nullptr;
  ClientCounts* clients = nullptr;  // All shards' together.
};

class SubmissionSession {
 public:
  SubmissionSession(const SubmissionContext* context, std::shared_ptr<const IntakeOptions> options,
                    std::unique_ptr<transport::Stream> stream);
  SubmissionSession(const SubmissionSession&) = delete;
  SubmissionSession& operator=(const SubmissionSession&) = delete;

  // The whole session. `implicit_tls`: the handshake comes before the greeting (RFC 8314).
  Task<void> Run(bool implicit_tls);

  // A client that is between two messages is told 421 4.3.2 now, another one after its
  // message.
  void Stop();
  // It is told 421 wherever it is.
  void StopNow();
  // Ends without another octet.
  void Cancel();

 private:
  // A message whose commit is awaited, and what is to be said behind its reply. The
  // client may go on with the next message meanwhile; replies keep their order.
  struct Pending {
    std::string reply;
    std::string later_replies;
    size_t octets = 0;
    bool done = false;
  };

  Task<void> Dialogue();
  Task<bool> Handle(transport::smtp::ServerMachine::Event event);
  Task<bool> AwaitInput();
  Task<bool> ReadMore();
  Task<bool> Settle();
  Task<bool> StartTls();
  Task<void> Authenticate(SubmissionAuth::Outcome outcome);
  Task<bool> FinishMessage();
  Task<void> Commit(Pending* pending, queue::Envelope envelope, queue::Octets content,
                    MonoTime begun);
  Task<void> SayLast(std::string reply);

  void DecideMail();
  void DecideRcpt();
  std::string MailRefusal() const;
  void CollectReplies();
  void RefuseMessage(std::string reply);
  void LogRefusal();
  void LogLabelProblem();
  void LogGone(std::string_view how);
  std::string Protocol() const;
  std::string LoginFacts() const;
  MonoTime ReplyDeadline() const;
  std::string Where() const { return message_.begun() ? message_.id().ToString() : "NOQUEUE"; }
  void Log(std::string line) { context_->logger->Info("smtpd", std::move(line)); }

  const SubmissionContext* const context_;
  const std::shared_ptr<const IntakeOptions> options_;
  const transport::smtp::ServerOptions server_options_;
  std::unique_ptr<transport::Stream> stream_;
  const SocketAddress remote_;
  const std::string client_;  // "localhost[127.0.0.1]"
  transport::smtp::ServerMachine machine_;
  SubmissionAuth auth_;
  IncomingMessage message_;
  TaskScope commits_;
  Event committed_;
  std::deque<std::unique_ptr<Pending>> pending_;
  size_t pending_octets_ = 0;
  MonoTime request_deadline_;
  bool stopping_ = false;
  bool stopping_now_ = false;
  bool reading_ = false;
  bool label_problem_logged_ = false;
};

}  // namespace mailrace::engine
