// One connection's worth of load: takes messages from the schedule and says them to the
// server, over one session after the other, until there are no more.
//
// Pipelined, a message costs one round trip: its content and final dot travel with the
// envelope of the next (RFC 2920 3.1).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "base/sync.h"
#include "base/task.h"
#include "tools/blast/client.h"
#include "tools/blast/composer.h"
#include "tools/blast/schedule.h"
#include "tools/blast/tally.h"
#include "tools/common/append_file.h"

namespace mailrace::blast {

// What the senders of a run share. Pointers are borrowed and outlive them.
struct SenderContext {
  ClientContext client;
  const Composer* composer = nullptr;
  Schedule* schedule = nullptr;
  Tally* tally = nullptr;
  tools::AppendFile* ledger = nullptr;  // Null: none.
  absl::Status ledger_status;           // The first failure to write.
  Event* stopped = nullptr;             // Notified after schedule->Stop().
  MonoTime last_session;                // When the last one was opened, or the start.
};

class Sender {
 public:
  explicit Sender(SenderContext* context) : context_(context) {}

  // Once. Ends when the schedule has no more and what it had is settled.
  Task<void> Run();
  // Gives up at once: what is under way counts as failed.
  void Cancel();

 private:
  // What the server said to an envelope.
  struct Answers {
    std::vector<uint32_t> accepted;  // Of the message's owed recipients.
    bool content_wanted = false;     // 354.
    std::string refusal;             // The first one.
  };

  // Opens a session and uses it up. OK when it ended as planned.
  Task<absl::Status> UseSession();
  void CountSession();
  Task<absl::Status> SendMessages();
  // A message that is not due yet waits here. False: there are no more.
  Task<bool> HaveMessage();
  Task<absl::StatusOr<Answers>> SayEnvelope();
  Task<absl::StatusOr<Answers>> ReadAnswers();
  Task<absl::StatusOr<Answers>> AskOneByOne();
  // Content and what may travel with it; then what the server said to it.
  Task<absl::Status> SendContent(Answers answers);
  Task<absl::Status> Reset();
  Task<void> PauseBeforeReconnect();

  void WriteMail(const Ticket& ticket);
  void WriteRcpt(const Ticket& ticket, uint32_t recipient);
  void WriteEnvelope(const Ticket& ticket);
  // True if the reply is no refusal; keeps the first that is.
  static bool Note(const transport::smtp::Reply& reply, Answers* answers);
  bool SessionUsedUp() const;
  void TakeNext();

  // --- What became of the current message (sender_outcome.cc). ---
  void Acknowledge(const std::vector<uint32_t>& recipients);
  // Its attempt ended with an answer. `octets` is the size of its content.
  void Settle(const std::string& refusal, size_t octets);
  // The session broke.
  void Fail(const absl::Status& why);
  void CountError(const std::string& text);

  SenderContext* const context_;
  std::optional<Client> client_;
  std::optional<Ticket> current_;
  // Its envelope was written behind the current message's content.
  std::optional<Ticket> next_;
  // To be sent again, before anything new is taken: at most two.
  std::vector<Ticket> repeats_;
  MonoTime begun_;       // Of the current message: where its latency begins.
  MonoTime next_begun_;  // Of the next.
  uint64_t session_messages_ = 0;
  bool ahead_ = false;         // The current message's envelope has been written.
  bool answered_ = false;      // The server has said something to it.
  bool reset_needed_ = false;  // The server has the remains of a refused transaction.
  int failed_opens_ = 0;
  bool cancelled_ = false;
  transport::tls::SessionPtr resume_;
};

}  // namespace mailrace::blast
