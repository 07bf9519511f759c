#include "engine/notifier.h"

#include <algorithm>
#include <utility>

#include "base/sync.h"
#include "base/text.h"
#include "engine/logs/log_lines.h"
#include "engine/notices.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Waits where nobody tried it just now: RFC 3463 X.4.0.
constexpr EnhancedStatus kWaiting{4, 4, 0};

}  // namespace

Task<queue::Octets> Notifier::ContentHead(const QueuedMessage* message) {
  if (message->content() != nullptr || message->envelope().chunks == 0) {
    co_return message->content();
  }
  OneShot<absl::StatusOr<std::string>> answer(context_->loop);
  context_->reader->ReadChunk(message->id(), 0, [&answer](absl::StatusOr<std::string> chunk) {
    answer.Set(std::move(chunk));
  });
  absl::StatusOr<std::string> chunk = co_await answer;
  if (!chunk.ok()) {
    context_->logger->Warning("bounce",
                              fmt::format("{}: content for the notice cannot be read: {}",
                                          message->id().ToString(), chunk.status().ToString()));
    co_return nullptr;
  }
  co_return std::make_shared<const std::string>(*std::move(chunk));
}

void Notifier::Tell(const QueuedMessage& message, DsnAction action,
                    const std::vector<ReportedRecipient>& reports, std::string_view head,
                    NoticeBatch batch) {
  for (Notice& notice : MakeNotices(*context_, message.envelope(), action, reports, head)) {
    batch.writes->PutChunk(notice.envelope.id, 0, notice.content);
    batch.writes->PutMessage(notice.envelope);
    context_->logger->Info("bounce", logs::NotificationLine(message.id().ToString(), notice.kind,
                                                            notice.envelope.id.ToString()));
    context_->stats->dsn_sent.Add();
    auto queued = std::make_shared<QueuedMessage>(std::move(notice.envelope));
    queued->set_content(std::move(notice.content));
    batch.notices->push_back(std::move(queued));
  }
}

bool Notifier::DelayNoticeDue(const QueuedMessage& message) const {
  const BouncePolicy& policy = context_->settings->bounces;
  const queue::Envelope& envelope = message.envelope();
  if (!engine::DelayNoticeDue(context_->ages->Arrival(envelope, context_->settings->retry),
                              context_->loop->wall(), message.retry().delay_warning_sent, policy)) {
    return false;
  }
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (!message.pending(i)) continue;
    const BounceFacts facts{DsnAction::kDelayed, envelope.reverse_path,
                            envelope.recipients[i].notify, false};
    if (WantsDsn(facts, policy)) return true;
  }
  return false;
}

bool Notifier::MayTellOfDelay(const QueuedMessage& message) {
  const std::string& sender = message.envelope().reverse_path;
  const int limit = context_->settings->bounces.delay_notices_per_sender;
  const SenderQuota::Verdict verdict = delay_notices_.Take(sender, limit, context_->loop->now());
  if (verdict == SenderQuota::Verdict::kGranted) return true;
  context_->stats->delay_notices_left_out.Add();
  if (verdict == SenderQuota::Verdict::kFirstRefused) {
    context_->logger->Warning(
        "bounce", fmt::format("{}: <{}> had {} delay notifications within an hour: leaving out "
                              "further ones",
                              message.id().ToString(), Printable(sender), limit));
  }
  return false;
}

void Notifier::TellOfDelay(QueuedMessage* message, const std::vector<ReportedRecipient>& known,
                           const std::string& why, std::string_view head, NoticeBatch batch) {
  if (!DelayNoticeDue(*message)) return;
  if (MayTellOfDelay(*message)) {
    std::vector<ReportedRecipient> late;
    for (uint32_t i = 0; i < message->envelope().recipients.size(); ++i) {
      if (!message->pending(i)) continue;
      const auto report = std::find_if(known.rbegin(), known.rend(),
                                       [i](const ReportedRecipient& r) { return r.index == i; });
      if (report != known.rend()) {
        late.push_back(*report);
        continue;
      }
      ReportedRecipient waiting{i, kWaiting, why};
      waiting.attempted = false;
      late.push_back(std::move(waiting));
    }
    Tell(*message, DsnAction::kDelayed, late, head, batch);
  }
  message->retry().delay_warning_sent = true;
  batch.writes->PutRetry(message->id(), message->retry());
  message->set_has_retry();
}

}  // namespace mailrace::engine
