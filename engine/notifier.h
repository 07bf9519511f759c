// Adds notices to the batch that records what they report: the one about failures, about
// messages handed to servers that do no DSN, about delays. Lives on one shard.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/task.h"
#include "engine/bounces/bounce_rules.h"
#include "engine/bounces/sender_quota.h"
#include "engine/delivery/job_pass.h"
#include "engine/queued_message.h"
#include "engine/shard_context.h"

namespace mailrace::engine {

// A batch as far as notices are concerned.
struct NoticeBatch {
  queue::WriteSet* writes = nullptr;
  // To be scheduled when the batch is durable.
  std::vector<std::shared_ptr<QueuedMessage>>* notices = nullptr;
};

class Notifier {
 public:
  // Borrowed; outlives it.
  explicit Notifier(ShardContext* context) : context_(context) {}

  // The beginning of the content, for what notices return; null if none can be had.
  Task<queue::Octets> ContentHead(const QueuedMessage* message);

  // `head`: of the content. Nothing is added if nobody may or wants to be told.
  void Tell(const QueuedMessage& message, DsnAction action,
            const std::vector<ReportedRecipient>& reports, std::string_view head,
            NoticeBatch batch);

  // The message is late and its sender has not been told. He may still have had too many.
  bool DelayNoticeDue(const QueuedMessage& message) const;
  // If it is: one notice of all recipients that are still owed, whatever nexthop they wait
  // for. `known` says why, of the others `why`. Left out if the sender had too many in this
  // hour; also then nothing more is said of this message.
  void TellOfDelay(QueuedMessage* message, const std::vector<ReportedRecipient>& known,
                   const std::string& why, std::string_view head, NoticeBatch batch);

 private:
  bool MayTellOfDelay(const QueuedMessage& message);

  ShardContext* const context_;
  SenderQuota delay_notices_;
};

}  // namespace mailrace::engine
