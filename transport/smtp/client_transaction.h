// One mail transaction on the client's side as a pure state machine: which command may
// go out next, which reply comes next, and what it means for each recipient. Replies
// are matched strictly in the order of the commands (RFC 2920 3.1, reliability.md 2.6).
//
//   [RSET] MAIL RCPT... DATA  content  end of data
//   [RSET] MAIL RCPT... BDAT n  octets ... BDAT n LAST  octets      (RFC 3030)
//
// Two cursors walk along that line: what was written and what was answered. Without
// PIPELINING a command waits until they meet; the content behind DATA always does. With
// CHUNKING content may be streamed: it goes out behind its envelope, unanswered. A server
// reads and discards what it does not want of it (RFC 3030 2), so that a refusal ends a
// streamed transaction only when all that was said of it is answered.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/buffer.h"
#include "base/clock.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/tolerance.h"
#include "transport/smtp/transaction.h"

namespace mailrace::transport::smtp {

struct ClientTransactionOptions {
  bool pipelining = false;
  bool reset_before = false;  // The server still has the remains of an earlier transaction.
  // The session was in use before this transaction: that it ends before MAIL is answered
  // is not this message's fault (Failure::stale_session).
  bool session_used_before = false;
  // MAIL goes out before the end of data of the message before is answered.
  bool behind_end_of_data = false;
  // BDAT instead of DATA. REQUIRES: pipelining.
  bool chunking = false;
  // With chunking: content need not wait for the replies to its envelope.
  bool streamed = false;
  // No more of the message's recipients are named than that; 0: all.
  size_t recipients_max = 0;
  // How the server answers; borrowed, or null. Learns, and for a streamed one judges.
  Tolerance* tolerance = nullptr;
};

class ClientTransaction {
 public:
  // Both borrowed for the transaction's life. Resets the results of the message's
  // recipients; what the server cannot take is refused here, unsaid.
  ClientTransaction(OutgoingMessage* message, const Capabilities* capabilities,
                    ClientTransactionOptions options);

  OutgoingMessage* message() const { return message_; }
  // Nothing more will be written or answered: all results are set.
  bool over() const { return over_; }
  // After over(): a MAIL was accepted and no end of data undid that, so that the next
  // MAIL would be nested (RFC 5321 4.1.4). A refused BDAT leaves it open what the server
  // has: RSET (RFC 3030 2).
  bool leaves_remains() const {
    if (written_.step == Step::kRset || out_of_step_) return true;
    return mail_accepted_ && !(options_.chunking ? end_accepted_ : end_answered_);
  }
  const ClientTransactionOptions& options() const { return options_; }
  // With chunking: when its last chunk went out, and as the how manieth that the session had
  // unanswered then.
  MonoTime end_said() const { return end_said_; }
  size_t under_way() const { return under_way_; }
  void NoteEndSaid(MonoTime now, size_t under_way) {
    end_said_ = now;
    under_way_ = under_way;
  }
  // The server took the content by BDAT.
  bool taken_by_bdat() const { return options_.chunking && end_accepted_; }
  // All of it was written, its end included.
  bool end_written() const { return written_.step == kEnd; }

  // Appends the next command to *out if it may be written now. False: nothing to write.
  bool WriteNext(Buffer* out);
  // Everything up to 354 is answered and somebody takes the message: send the content
  // and its end, then call ContentEnded(). With chunking: the next chunk may go out, and
  // WriteChunk() takes it.
  bool wants_content() const;
  // The end of data is about to be sent: from here the server may have the message.
  void ContentEnded();
  // Appends the command and the octets. `last`: from here the server may have the message.
  void WriteChunk(std::string_view octets, bool last, Buffer* out);
  // With chunking: the content cannot be sent, or not to its end. The session lives on, and
  // the server has to forget what it has of it: leaves_remains().
  void GiveUpContent(const Failure& failure);

  // A reply is due, and to this step.
  bool expects_reply() const { return !over_ && answered_ != written_; }
  Step expected_step() const {
    return answered_.step == Step::kBody && answered_ == last_chunk_ ? Step::kEndOfData
                                                                     : answered_.step;
  }
  // What is written next: kEndOfData stands for the content too.
  Step next_step() const { return written_.step; }

  // Takes the next reply. REQUIRES: expects_reply(). Returns what ends the session,
  // after which Break() is already done: a 421, or a reply that fits no such command.
  std::optional<Failure> Answer(Reply reply);
  // The server refused the content before it was all sent (P-13). The session is over.
  void AnswerEarly(Reply reply);
  // The session is over for another reason; sets what results are left.
  void Break(const Failure& failure);
  // The session ended over another transaction: what has no result stays untried.
  void Abandon() { over_ = true; }
  // Anything of it was written; and nothing of that answered.
  bool said() const { return written_ != begin_; }
  bool unheard() const { return said() && answered_ == begin_; }
  // Recipients that the server accepted, so far.
  size_t accepted() const { return accepted_; }
  // Once, when every recipient was answered or the server closes: what it said to the first one
  // that was too many, if that is all it said of those behind the accepted ones. Else null.
  const Reply* TakeTooMany();
  // It was said, and in a streamed one's order, but the server had lost its place: to be said
  // again, with care. Set before the last replies to it have come.
  bool out_of_step() const { return out_of_step_; }

 private:
  // How far along the line: at `step`, and for kRcpt at which recipient, for kBody at which
  // chunk. kQuit: at the end, behind the end of data.
  struct Position {
    Step step = Step::kMail;
    size_t number = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };
  static constexpr Step kEnd = Step::kQuit;
  // Chunks of one message that may be unanswered: a refusal is noticed within as many.
  static constexpr size_t kChunksMax = 16;

  bool PendingAt(size_t recipient) const {
    return message_->recipients[recipient].result == OutgoingRecipient::Result::kUntried;
  }
  // `from` and on: the first recipient that is sent at all, or the DATA behind them.
  Position RecipientOrData(size_t from) const;
  Position After(Position position) const;
  bool nothing_outstanding() const { return answered_ == written_; }
  void RefuseOwn(Reply reply);
  void RefuseRest(Step step, const Reply& reply);
  // The same by a reply to DATA or to the content. "Too many recipients" there is the word about
  // RCPT once more: those that had been accepted are not bounced for it, but asked for again.
  void RefuseContent(Step step, const Reply& reply);
  void SetRest(OutgoingRecipient::Result result, Step step);
  // Those that were too many for a message that was taken: they come in another transaction.
  void ReleaseTooMany();
  // The replies heard so far may be another command's: nobody was refused by them.
  void WithdrawRefusals();
  std::optional<Failure> Unexpected(Step step, Reply reply);
  std::optional<Failure> Interpret(Reply reply);
  std::optional<Failure> AnswerReset(Reply reply);
  std::optional<Failure> AnswerMail(Reply reply);
  std::optional<Failure> AnswerRcpt(size_t index, Reply reply);
  std::optional<Failure> AnswerData(Reply reply);
  std::optional<Failure> AnswerChunk(Reply reply);
  std::optional<Failure> AnswerEnd(Reply reply);
  std::optional<Failure> AnswerLastChunk(Reply reply);
  // A positive reply: learned from, or judged. False: it is none to `step`.
  bool Plausible(Step step, const Reply& reply);
  // The server cannot have the message for anybody. Once it is out of step that takes a refusal
  // of every recipient: the one of MAIL may have been meant for something else.
  bool nobody_takes_it() const {
    if (garbled_) return false;
    const bool envelope_answered =
        answered_.step == Step::kData || answered_.step == Step::kBody || answered_.step == kEnd;
    return content_ended_early_ || (mail_refused_ && !out_of_step_) ||
           (accepted_ == 0 && envelope_answered);
  }
  // No content is worth sending any more.
  bool pointless() const { return out_of_step_ || nobody_takes_it(); }
  std::optional<Failure> FallOutOfStep(Step step, Reply reply, std::string_view what);
  std::optional<Failure> EndIfClosing(Step step, const Reply& reply);
  Failure EndUntried(Failure failure);
  void EndIfPointless();

  OutgoingMessage* const message_;
  const Capabilities* const capabilities_;
  const ClientTransactionOptions options_;
  size_t recipients_ = 0;  // Of the message, those in this transaction.
  Position begin_;         // RSET or MAIL.
  Position written_;       // The next to be written.
  Position answered_;      // The next to be answered.
  size_t accepted_ = 0;    // 2xx to RCPT; out of step those too that no recipient is known of.
  // The first recipient that was too many for the server, once some had been accepted.
  std::optional<size_t> too_many_;
  bool too_many_told_ = false;
  bool mail_accepted_ = false;
  bool mail_refused_ = false;
  bool lone_dot_ = false;  // 354 although nobody takes the message (P-10).
  bool end_answered_ = false;
  Position last_chunk_{kEnd, 0};      // Until it is written: nowhere.
  bool content_ended_early_ = false;  // A chunk was refused, or the content given up.
  bool end_accepted_ = false;
  MonoTime end_said_;
  size_t under_way_ = 0;
  bool out_of_step_ = false;
  // A reply came that was none to its command, or to nothing: nobody knows what it answered.
  bool garbled_ = false;
  bool over_ = false;
};

}  // namespace mailrace::transport::smtp
