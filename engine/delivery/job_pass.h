// One try at one job: the recipients that one message still owes one nexthop, cut into
// transactions, and what became of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/content_reader.h"
#include "engine/delivery/transaction_content.h"
#include "engine/flight_journal.h"
#include "engine/outcome.h"
#include "engine/queued_message.h"
#include "engine/stages.h"
#include "queue/scheduler.h"
#include "transport/smtp/transaction.h"

namespace mailrace::engine {

class JobPass;

// A transaction with one slice of the recipients. Owned by its pass.
class DeliveryTransaction final : public transport::smtp::OutgoingMessage {
 public:
  DeliveryTransaction(JobPass* pass, TransactionContent content, MonoTime now)
      : pass_(pass), content_(std::move(content)), handed_out_(now) {}
  JobPass* pass() const { return pass_; }
  // Which use of its session this is, from 1: the next transaction may have been taken
  // before this one is finished.
  uint32_t use() const { return use_; }
  void set_use(uint32_t use) { use_ = use; }
  // When the session took it up.
  MonoTime handed_out() const { return handed_out_; }

  Task<absl::StatusOr<std::string_view>> NextChunk() override { return content_.Next(); }
  void Rewind() override { content_.Rewind(); }
  void EndOfDataComes(size_t recipients) override;
  // Where the time of a delivered message went; `age` is its own at `answered`.
  void NoteStages(MonoTime answered, absl::Duration age, StageTimes* stages) const;
  // Of the end of data; whoever makes the outcome durable clears it.
  FlightMark flight() const { return flight_; }

 private:
  JobPass* pass_;
  TransactionContent content_;
  FlightMark flight_;
  uint32_t use_ = 1;
  MonoTime handed_out_;
};

// What became of a recipient in this pass, as far as its sender may be told at its end.
struct ReportedRecipient {
  uint32_t index = 0;
  EnhancedStatus status;
  std::string text;
  std::string remote_mta{};  // Host name; empty if none was reached.
  std::string reply{};       // As it said it; empty if it was not a reply.
  bool expired = false;      // Failed because its lifetime is over.
  bool attempted = true;     // It was tried just now.
};

class JobPass {
 public:
  // Takes the recipients; gives back at its end those that did not become final.
  // `recipients_per_transaction`: 0 for no limit.
  // REQUIRES: all are pending and not taken.
  JobPass(queue::Job* job, std::shared_ptr<QueuedMessage> message, std::vector<uint32_t> recipients,
          int recipients_per_transaction, Loop* loop, ContentReader* reader);
  ~JobPass();
  JobPass(const JobPass&) = delete;
  JobPass& operator=(const JobPass&) = delete;

  bool more() const { return next_ < recipients_.size(); }
  // Null when every recipient was handed out. `server_max`: recipients that the server takes at
  // a time; 0: no limit is known. What were beyond it would wait with whom the server defers.
  DeliveryTransaction* NextTransaction(size_t server_max);
  void TransactionFinished() { --out_; }
  // Nothing is handed out and nothing is left to hand out.
  bool finished() const { return out_ == 0 && next_ >= recipients_.size(); }
  // The session is gone: what was not handed out stays untried.
  void Abandon();

  queue::Job* job() const { return job_; }
  const std::shared_ptr<QueuedMessage>& message() const { return message_; }
  const std::vector<uint32_t>& recipients() const { return recipients_; }

  // --- Filled by whoever judges the recipients. ---
  std::vector<uint32_t> delivered;  // Of transactions whose record is not yet written.
  // Delivered too, but the sender wants to hear of it and the server will not tell: recorded
  // at the end of the pass, with the notice.
  std::vector<ReportedRecipient> relayed;
  std::vector<ReportedRecipient> failed;
  std::vector<ReportedRecipient> deferred;  // Why they wait; told when that takes long.
  bool any_deferred = false;
  bool any_untried = false;
  bool unfit = false;  // The stored content must not be sent.
  std::string deferral_text;
  queue::Attempt attempt;          // The deferral, for the message's history.
  std::function<void()> recorded;  // Called when what the pass brought is durable; or null.

  // Of transactions that the server took or may have taken, until their record is durable.
  std::vector<FlightMark> marks;

  FlightJournal* flights = nullptr;  // Borrowed; null: none is kept.

  MonoTime taken;              // Handed to a session.
  MonoTime connected;          // The session stood; `taken` or earlier for a reused one.
  SessionCosts session_costs;  // If one was made for this pass.

 private:
  queue::Job* job_;
  std::shared_ptr<QueuedMessage> message_;
  std::vector<uint32_t> recipients_;
  size_t per_transaction_;
  size_t next_ = 0;
  int out_ = 0;
  Loop* loop_;
  ContentReader* reader_;
  std::vector<std::unique_ptr<DeliveryTransaction>> transactions_;
};

}  // namespace mailrace::engine
