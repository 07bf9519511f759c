// The sequence of transactions on one session, sans I/O: at most two are under way, one
// whose end of data is unanswered and the next, whose commands travelled behind it. The
// session does what this asks for: write, send content, read a reply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/buffer.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/client_transaction.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

struct ClientMachineOptions {
  bool pipelining = false;     // Offered and allowed.
  bool cross_message = false;  // The next MAIL may follow an unanswered end of data.
  // The session served before, or lay idle: it may be over without our knowing.
  bool session_used_before = false;
  bool reset_before = false;  // An earlier transaction left its remains at the server.
};

class ClientMachine {
 public:
  // Octets of commands that may be unanswered. The server may stop reading while it
  // cannot send its replies, so a group has to fit in the send buffer of our own system
  // (RFC 2920 3.1): 4 KiB do in any.
  static constexpr size_t kGroupOctetsMax = 4096;

  // `capabilities` is borrowed.
  ClientMachine(const Capabilities* capabilities, ClientMachineOptions options)
      : capabilities_(capabilities), options_(options) {}

  // Another message may be taken now.
  bool can_take() const;
  void Take(OutgoingMessage* message);
  // The next message whose results are all set, in the order of Take; or null.
  OutgoingMessage* TakeFinished();

  // Appends the commands that may be written now.
  void WriteCommands(Buffer* out);
  // The transaction whose content is wanted now, or null.
  ClientTransaction* wants_content();

  bool expects_reply() const;
  Step expected_step() const;  // REQUIRES: expects_reply().
  // What is written next. REQUIRES: under_way().
  Step next_step() const { return Current()->next_step(); }
  // Takes a reply. What it returns ends the session: only TakeFinished may follow.
  std::optional<Failure> Answer(Reply reply);
  // A refusal that came before the content was all sent. The session is over.
  void AnswerEarly(Reply reply);
  // The session is over at failure.step: whom that concerns gets it, the others stay
  // untried. Returns the failure, marked if it is a stale session's.
  Failure Break(Failure failure);

  // The server has the remains of a transaction that was given up.
  bool reset_needed() const { return options_.reset_before; }
  // How many transactions were said, and how many of those are over and taken.
  uint32_t started() const { return started_; }
  uint32_t completed() const { return completed_; }
  bool idle() const { return transactions_.empty(); }
  // A transaction has something to write, send or read.
  bool under_way() const { return Current() != transactions_.end(); }

 private:
  // The transaction whose reply, content or command is next, or the end.
  std::deque<ClientTransaction>::const_iterator Current() const;
  std::deque<ClientTransaction>::iterator Current();
  void AbandonRest();

  const Capabilities* const capabilities_;
  ClientMachineOptions options_;
  std::deque<ClientTransaction> transactions_;
  size_t unanswered_octets_ = 0;  // Of the group that is under way.
  uint32_t started_ = 0;
  uint32_t completed_ = 0;
  bool broken_ = false;
};

}  // namespace mailrace::transport::smtp
