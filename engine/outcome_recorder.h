// Makes what became of recipients durable and visible: log lines, records in the next
// group commit, notices in the same atomic batch as the outcome they report, the job's way
// back into the scheduler. Lives on one shard.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/loop.h"
#include "base/sync.h"
#include "base/task.h"
#include "engine/delivery/job_pass.h"
#include "engine/notifier.h"
#include "engine/outcome.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

// Who a transaction was with, for its log lines.
struct TransactionFacts {
  logs::Peer relay;          // Without a host: "relay=none".
  uint32_t uses = 1;         // Of the connection, this one included.
  std::string tls_features;  // For "tls="; empty: not logged.
  bool offers_dsn = false;
  std::string_view agent = "smtp";  // Who the log says it was.
};

class OutcomeRecorder {
 public:
  // `enqueue` takes a message that just became durable (a notice) into the shard.
  // `unblocked` is called when blocked() is over.
  OutcomeRecorder(ShardContext* context,
                  std::function<void(std::shared_ptr<QueuedMessage>)> enqueue,
                  std::function<void()> unblocked);
  // What waits for space goes with it: the next start finds the mail as it was before.
  // What the committer has may still be written, and frees itself.
  ~OutcomeRecorder();

  // Judges and logs every recipient of a finished transaction. True if any was delivered.
  bool TransactionFinished(const DeliveryTransaction* transaction, const TransactionFacts& facts);

  // The pass is over (pass->finished()): writes what is not yet written and gives the
  // job back to the scheduler. Deferred if any recipient was, ready again if some were
  // merely untried, gone if nothing is owed any more.
  void PassFinished(std::unique_ptr<JobPass> pass);

  // No session could be had: logs the pass's recipients as deferred. The destination is
  // at fault, not the mail: the job goes back to its line uncharged. Unless destinations
  // never count as dead (failed cohort limit 0): then nothing but the job's own back-off
  // would keep us from trying without a pause. Its sender is told if it is late.
  void PassBlocked(std::unique_ptr<JobPass> pass, const Trouble& trouble,
                   const TransactionFacts& facts);

  // Every pending recipient fails for good without a session.
  void PassFailed(std::unique_ptr<JobPass> pass, EnhancedStatus status, const std::string& text);

  // The same for every pending recipient: what a transport says that asks no server
  // (error, retry, discard). A deferral is charged; soft_bounce makes one of a failure.
  void PassSettled(std::unique_ptr<JobPass> pass, Disposition disposition,
                   const TransactionFacts& facts);

  // The same by an operator's wish; `reason` may be empty.
  void PassBounced(std::unique_ptr<JobPass> pass, std::string_view reason);

  // An operator's wish about a message, or the end of an intake that was given up: made
  // durable like an outcome, and tried again while the disk is full. `durable`, if given,
  // is called then: somebody waits for it.
  // `message` stays in memory until then: nobody may read from the disk what is not there
  // yet. Null only where there is nothing to read.
  void Record(QueueId id, queue::WriteSet writes, std::shared_ptr<QueuedMessage> message,
              std::function<void()> durable = nullptr);

  // The message waits where nobody tries it (its destination is suspended): if it is late
  // and its sender has not been told, it is told now, `why` being the reason.
  Task<void> WarnOfDelay(std::shared_ptr<QueuedMessage> message, std::string why);

  // Outcomes whose commit failed for want of space and is tried again: while there are
  // any, nothing new should be sent (a full disk must not pile up duplicates).
  bool blocked() const { return retrying_ > 0; }

  // Until every outcome so far is durable; false if the deadline came first, or the time
  // that Hurry() set.
  Task<bool> AwaitDurable(MonoTime deadline);
  void Hurry(MonoTime latest);

 private:
  class Request;
  void LogRecipient(const JobPass& pass, uint32_t recipient, const Disposition& disposition,
                    const TransactionFacts& facts);
  void AddDelivered(JobPass* pass, Request* request);
  bool OwesMore(const QueuedMessage& message, const std::string& nexthop) const;
  void AddRemoval(QueuedMessage* message, Request* request);
  void ExpirePending(JobPass* pass);
  bool WantsRelayedNotice(const JobPass& pass, uint32_t recipient,
                          const TransactionFacts& facts) const;
  // The pass is judged: tells those who are to be told, and concludes it.
  void Settle(std::unique_ptr<JobPass> pass);
  Task<void> NotifyAndConclude(std::unique_ptr<JobPass> pass);
  void AddFailed(JobPass* pass, Request* request);
  void BouncePending(JobPass* pass, std::string_view reason);
  void NoteDeferral(JobPass* pass, const Disposition& disposition, const logs::Peer& relay);
  void Charge(JobPass* pass);
  bool EndWish(QueueId id);
  void Conclude(std::unique_ptr<JobPass> pass, std::unique_ptr<Request> request);
  void Removed(QueueId id);
  void ClearMarks(std::vector<FlightMark>* marks);
  void Submit(std::unique_ptr<Request> request);
  void Proceed(Request* done);
  void AwaitSpace(std::unique_ptr<Request> request);
  void TryAgain();

  ShardContext* context_;
  Notifier notifier_;
  std::function<void(std::shared_ptr<QueuedMessage>)> enqueue_;
  std::function<void()> unblocked_;
  // Of one message, on their way: the first is with the committer or waits for space.
  struct Line {
    Request* first;
    Request* last;
  };
  absl::flat_hash_map<QueueId, Line> lines_;
  std::vector<std::unique_ptr<Request>> without_space_;
  CallbackTimer try_again_;
  size_t retrying_ = 0;
  size_t outstanding_ = 0;  // Requests on their way.
  Event durable_;           // outstanding_ became 0, or there is a hurry.
  std::optional<MonoTime> latest_;
};

}  // namespace mailrace::engine
