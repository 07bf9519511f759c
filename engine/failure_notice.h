// The notice that a sender gets about recipients that failed: a new message for the
// queue, from the null reverse-path (RFC 3461 6.1, RFC 5321 6.1).
#pragma once

#include <string_view>
#include <vector>

#include "engine/delivery/job_pass.h"
#include "engine/shard_context.h"
#include "queue/message.h"

namespace mailrace::engine {

struct FailureNotice {
  queue::Envelope envelope;
  queue::Octets content;
};

// `content_head` is the beginning of the original content, at least its header section
// if it is that short. None if nobody may or wants to be told: null reverse-path,
// NOTIFY=NEVER (reliability.md 2.12). One, unless there are more recipients than one
// notice reports.
std::vector<FailureNotice> MakeFailureNotices(const ShardContext& context,
                                              const QueuedMessage& message,
                                              const std::vector<FailedRecipient>& failed,
                                              std::string_view content_head);

}  // namespace mailrace::engine
