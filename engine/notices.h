// The notices that senders, and postmaster where it wants them, get about recipients: new
// messages for the queue (RFC 3461 6.1, RFC 5321 6.1). Who is told what is decided by
// engine/bounces/bounce_rules; what a notice says is built by engine/bounces/dsn.
#pragma once

#include <string_view>
#include <vector>

#include "engine/bounces/bounce_rules.h"
#include "engine/delivery/job_pass.h"
#include "engine/logs/log_lines.h"
#include "engine/shard_context.h"
#include "queue/message.h"

namespace mailrace::engine {

struct Notice {
  queue::Envelope envelope;
  queue::Octets content;
  logs::Notification kind = logs::Notification::kSenderFailure;
};

// All notices that `reports` give rise to: one, unless there are more recipients than one
// notice reports or postmaster wants a copy; none if nobody may or wants to be told (null
// reverse-path, NOTIFY: reliability.md 2.12). The caller queues them in the batch that
// records the outcomes. `content_head` is the beginning of the original content, at least
// its header section if it is that short; borrowed for the call.
//
// kRelayed: those alone whose server does not do DSN. A failure that nobody may be told of
// is logged here: it is the end of that mail.
std::vector<Notice> MakeNotices(const ShardContext& context, const queue::Envelope& original,
                                DsnAction action, const std::vector<ReportedRecipient>& reports,
                                std::string_view content_head);

}  // namespace mailrace::engine
