// The relay client's dialogue over one connection: greeting, EHLO, STARTTLS, AUTH, then
// transactions in one round trip each. Knows the protocol, not the policy: the engine
// decides whether to start TLS, whether what came out is good enough, who to log in as.
//
// Lives on one shard; one coroutine uses it at a time. After a Failure other than a
// reply the session is dead: destroy it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/helper.h"
#include "base/loop.h"
#include "base/task.h"
#include "transport/sasl/client.h"
#include "transport/sasl/salted_passwords.h"
#include "transport/smtp/auth_exchange.h"
#include "transport/smtp/capabilities.h"
#include "transport/smtp/reply.h"
#include "transport/smtp/tolerance.h"
#include "transport/smtp/transaction.h"
#include "transport/stream.h"

namespace mailrace::transport::smtp {

class ChunkReader;
class ClientMachine;
class DotStuffer;

// Postfix's names in comments; RFC 5321 4.5.3.2's minima are the defaults.
struct ClientTimeouts {
  absl::Duration greeting = absl::Seconds(300);  // smtp_helo_timeout covers greeting and EHLO
  absl::Duration helo = absl::Seconds(300);      // smtp_helo_timeout
  absl::Duration starttls = absl::Seconds(300);  // smtp_starttls_timeout
  absl::Duration auth = absl::Seconds(300);
  absl::Duration mail = absl::Seconds(300);       // smtp_mail_timeout
  absl::Duration rcpt = absl::Seconds(300);       // smtp_rcpt_timeout
  absl::Duration data_init = absl::Seconds(120);  // smtp_data_init_timeout
  absl::Duration data_xfer = absl::Seconds(180);  // smtp_data_xfer_timeout, per block
  absl::Duration data_done = absl::Seconds(600);  // smtp_data_done_timeout
  absl::Duration rset = absl::Seconds(20);        // smtp_rset_timeout
  absl::Duration quit = absl::Seconds(5);         // smtp_quit_timeout
};

struct ClientSessionOptions {
  std::string helo_name;  // smtp_helo_name
  ClientTimeouts timeouts;
  std::vector<std::string> discard_ehlo_keywords;  // Upper case: as if it had not said them.
  bool await_quit_reply = false;  // Quit() waits for the 221; RFC 5321 4.1.1.10 wants it.
  // What is known of the server, and what may be said ahead of its replies. Null: the session
  // learns for itself.
  std::shared_ptr<Tolerance> tolerance;
  // Borrowed; either may be null: key derivation is then done here, each time.
  Helper* helper = nullptr;
  sasl::SaltedPasswords* salted_passwords = nullptr;
};

class ClientSession {
 public:
  ClientSession(Loop* loop, std::unique_ptr<Stream> stream, ClientSessionOptions options);
  ~ClientSession();

  // Each returns nothing on success. A kReply failure leaves the session usable for
  // Quit() (or the next try that the engine thinks of).
  Task<std::optional<Failure>> ReadGreeting();  // Only 220 succeeds (C-09).
  Task<std::optional<Failure>> Ehlo();          // Fills capabilities().
  Task<std::optional<Failure>> Helo();          // No capabilities.
  // Sends STARTTLS, requires 220 and nothing behind it (C-05), shakes hands. The
  // capabilities are forgotten: Ehlo() comes next (RFC 3207 4.2).
  Task<std::optional<Failure>> StartTls(std::unique_ptr<tls::Engine> engine);
  // Shakes hands at once (implicit TLS, smtp_tls_wrappermode); before ReadGreeting().
  Task<std::optional<Failure>> WrapTls(std::unique_ptr<tls::Engine> engine);
  // Runs the exchange of RFC 4954: initial response on the line if it fits in 512
  // octets; at most 100 rounds; cancels with "*" what it cannot answer. 235 before the
  // mechanism is complete is a failure. Nothing of it reaches a log.
  Task<std::optional<Failure>> Authenticate(std::string mechanism, sasl::Credentials credentials,
                                            std::string service_host);

  // For checks, not for mail: one command each, without parameters, and its reply. RSET ends
  // what the others began. REQUIRES: no transaction is under way.
  Task<std::optional<Failure>> TryMail(std::string reverse_path);
  Task<std::optional<Failure>> TryRcpt(std::string forward_path);
  Task<std::optional<Failure>> TryReset();

  // Sends what `source` (borrowed) gives until it has nothing more; then the session is
  // idle and may be used again. Every message taken from the source is given back by
  // Finished(), whatever happens. Returns the failure that killed the session: a reply
  // 421 is one, and so is kLocal once the server's MAILMAX (RFC 9422) is used up; Quit()
  // knows what to do after each.
  // REQUIRES capabilities: the session itself holds back what the server lacks — a
  // message that needs SMTPUTF8 or 8BITMIME gets kRefused with an own reply 550 5.6.7 /
  // 550 5.6.3 at kMail (nothing sent raw), one above SIZE 552 5.3.4 — such replies carry
  // code and enhanced status like a server's and `own_reply` says so in Failure.text.
  Task<std::optional<Failure>> RunTransactions(TransactionSource* source);

  // Recipients that one transaction may have, as the server says (RFC 9422 RCPTMAX) or was found
  // to take; 0: no limit is known. Those beyond it stay untried.
  size_t recipients_max() const;
  // What is known of the server; never null.
  Tolerance& tolerance() { return *options_.tolerance; }

  // While idle: waits until the server says something or closes (421, FIN: the session
  // is dead), or until Interrupt(), or the deadline. True if it is still usable.
  Task<bool> AwaitIdle(MonoTime deadline);
  // Ends AwaitIdle, from the same shard. Harmless when nobody waits.
  void Interrupt();

  // Sends QUIT unless the session is dead, waits for nothing longer than the flush (but
  // await_quit_reply), closes TLS. Then destroy.
  Task<void> Quit();
  // What is awaited ends soon with kLocal "cancelled".
  void Cancel();

  // Content octets that travel in one write, each with its own smtp_data_xfer_timeout.
  static constexpr size_t kBlockOctets = size_t{64} * 1024;

  const Capabilities& capabilities() const { return capabilities_; }
  // ReadGreeting() heard the word ESMTP (smtp_always_send_ehlo = no).
  bool greeted_with_esmtp() const { return greeted_with_esmtp_; }
  const std::string& server_name() const { return server_name_; }  // From EHLO's first word.
  Stream& stream() { return *stream_; }
  uint32_t transactions() const { return transactions_; }  // Completed so far.

 private:
  // One command of an envelope; a reply that is not 2xx is its failure.
  Task<std::optional<Failure>> Try(Step step, std::string verb, std::string argument,
                                   absl::Duration timeout);
  // Answers the latest reply; what takes long is done elsewhere, and once.
  Task<void> AnswerAuth(AuthExchange* exchange, sasl::Client* client, AuthExchange::State* state);
  // Sends output() and reads one reply into reply_, both by one deadline (P-11).
  Task<std::optional<Failure>> Exchange(Step step, absl::Duration timeout);
  Task<std::optional<Failure>> ReadReply(Step step, absl::Duration timeout);
  // One step of the machine: write, send content or read a reply.
  Task<std::optional<Failure>> Advance(ClientMachine* machine, TransactionSource* source);
  // The same where content goes by BDAT: what may be said is said before anything is read.
  Task<std::optional<Failure>> AdvanceStream(ClientMachine* machine, TransactionSource* source);
  Task<std::optional<Failure>> WriteChunk(ClientMachine* machine);
  Task<std::optional<Failure>> FlushStream(ClientMachine* machine);
  // The failure that a stream ends with, after what the server said before it went.
  Task<std::optional<Failure>> EndStream(ClientMachine* machine, Failure failure);
  Task<std::optional<Failure>> SendContent(ClientMachine* machine, TransactionSource* source);
  // Content octets up to, not with, the end of data: the last block is in output().
  Task<std::optional<Failure>> SendBlocks(OutgoingMessage* message, DotStuffer* stuffer);
  Task<std::optional<Failure>> SendBlock(Step step);
  // After a write failed: did the server say why before it went (P-13)?
  Task<std::optional<Reply>> ReadEarlyReply();
  Task<std::optional<Failure>> Handshake(std::unique_ptr<tls::Engine> engine);

  // What was received already, if it is a whole reply or an error; kNeedsMore if not.
  ReplyParser::State ParseInput();
  // Whatever is in input() while no reply is due: not one to what we say next (C-08, P-07).
  std::optional<Failure> OutOfTurn(Step step);
  // Marks the session dead unless `failure` is a reply that leaves it open. Returns it.
  std::optional<Failure> Note(std::optional<Failure> failure);
  absl::Duration TimeoutOf(Step step) const;
  void TakeNext(ClientMachine* machine, TransactionSource* source);
  bool mails_used_up(const ClientMachine& machine) const;
  // How far transactions may run ahead now.
  void UpdateRunAhead(ClientMachine* machine);
  // What a failure says about the server's tolerance.
  void Judge(const ClientMachine& machine, const Failure& failure);

  Loop* loop_;
  std::unique_ptr<Stream> stream_;
  ClientSessionOptions options_;
  ReplyParser parser_;
  Reply reply_;  // The latest.
  Capabilities capabilities_;
  std::string server_name_;
  uint32_t transactions_ = 0;
  uint32_t mails_ = 0;  // Transactions begun, RFC 9422 MAILMAX counts them.
  bool heard_ = true;   // Something came since the session was idle.
  Tolerance::Manner manner_ = Tolerance::Manner::kAhead;  // In which it is spoken to.
  std::unique_ptr<ChunkReader> chunks_;  // Of the message whose content is being written.
  Buffer chunk_;                         // Its next chunk.
  bool used_before_ = false;             // A transaction or a wait lies behind the session.
  bool reset_needed_ = false;            // The server has the remains of a transaction.
  bool awaiting_idle_ = false;           // AwaitIdle's read is in flight.
  bool cancelled_ = false;
  bool dead_ = false;
  bool greeted_with_esmtp_ = false;
};

}  // namespace mailrace::transport::smtp
