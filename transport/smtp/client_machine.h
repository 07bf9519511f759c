// The sequence of transactions on one session, sans I/O. With DATA at most two are under
// way, one whose end of data is unanswered and the next, whose commands travelled behind it;
// with streamed BDAT a window of them. The session does what this asks for: write, send
// content, read a reply.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "base/buffer.h"
#include "base/clock.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/client_transaction.h"
#include "transport/smtp/tolerance.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

struct ClientMachineOptions {
  bool pipelining = false;         // Offered and allowed.
  Tolerance* tolerance = nullptr;  // Of the server, borrowed; or null.
  // The session served before, or lay idle: it may be over without our knowing.
  bool session_used_before = false;
  bool reset_before = false;  // An earlier transaction left its remains at the server.
};

// How far the next transactions may run ahead of replies; it changes as the server is known
// better.
struct RunAhead {
  bool cross_message = false;  // The next MAIL may follow an unanswered end of data.
  bool chunking = false;       // BDAT where more mail follows. REQUIRES: pipelining.
  size_t window = 0;           // With chunking: transactions that may be streamed; 0: none.
  size_t recipients_max = 0;   // Of a transaction; 0: no limit is known.
};

class ClientMachine {
 public:
  // Octets of commands that may be unanswered. The server may stop reading while it
  // cannot send its replies, so a group has to fit in the send buffer of our own system
  // (RFC 2920 3.1): 4 KiB do in any.
  static constexpr size_t kGroupOctetsMax = 4096;
  // The same of a stream, where content is in the way of any such measure: their replies,
  // of some fifty octets each, have to fit in what our system keeps for us unread.
  static constexpr size_t kStreamCommandsMax = 256;

  // `capabilities` is borrowed.
  ClientMachine(const Capabilities* capabilities, ClientMachineOptions options)
      : capabilities_(capabilities), options_(options) {}

  void set_run_ahead(RunAhead ahead) { ahead_ = ahead; }
  // Another message may be taken now.
  bool can_take() const;
  // `more_follow`: more messages are there to be taken behind it, so that it may be worth BDAT.
  // What is behind a streamed one is streamed.
  void Take(OutgoingMessage* message, bool more_follow);
  // The next message whose results are all set, in the order of Take; or null.
  OutgoingMessage* TakeFinished();

  // Appends the commands that may be written now.
  void WriteCommands(Buffer* out);
  // The transaction whose content is wanted now, or null.
  ClientTransaction* wants_content();
  // The last one taken says BDAT. REQUIRES: !idle().
  bool chunking() const { return transactions_.back().options().chunking; }
  // Gives the next chunk of `transaction`, which wants content, to the wire.
  void WriteChunk(ClientTransaction* transaction, std::string_view octets, bool last, MonoTime now,
                  Buffer* out) {
    transaction->WriteChunk(octets, last, out);
    if (last) transaction->NoteEndSaid(now, transactions_.size());
    ++unanswered_commands_;
  }

  // The server said 421: it says no more.
  bool closing() const {
    return ending_ && ending_->kind == Failure::Kind::kReply && ending_->reply &&
           ending_->reply->code == 421;
  }
  bool expects_reply() const;
  Step expected_step() const;  // REQUIRES: expects_reply().
  // What is written next. REQUIRES: under_way().
  Step next_step() const { return Current()->next_step(); }
  // Takes a reply. What it returns ends the session: only TakeFinished may follow.
  std::optional<Failure> Answer(Reply reply, MonoTime now);
  // A refusal that came before the content was all sent. The session is over.
  void AnswerEarly(Reply reply);
  // The session is over at failure.step: whom that concerns gets it, the others stay
  // untried. Returns the failure, marked if it is a stale session's.
  Failure Break(Failure failure);
  // The session ends for this reason once everything that was said is answered: nothing more
  // may be written. Null: it goes on.
  const std::optional<Failure>& ending() const { return ending_; }
  // What was said ahead of replies, when the session ended, was more than one transaction's
  // own group.
  bool ran_ahead() const { return ran_ahead_; }

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
  std::optional<Failure> EndWhenAnswered(Failure failure);
  void NoteRunAhead();
  // The end of `transaction` was answered as it should be.
  void Teach(const ClientTransaction& transaction, bool ahead, MonoTime now);
  void AbandonRest();

  const Capabilities* const capabilities_;
  ClientMachineOptions options_;
  RunAhead ahead_;
  std::deque<ClientTransaction> transactions_;
  size_t unanswered_octets_ = 0;    // Of the group that is under way.
  size_t unanswered_commands_ = 0;  // With chunking; each BDAT is one.
  std::optional<Failure> ending_;
  bool ran_ahead_ = false;
  uint32_t started_ = 0;
  uint32_t completed_ = 0;
  bool broken_ = false;
};

}  // namespace mailrace::transport::smtp
