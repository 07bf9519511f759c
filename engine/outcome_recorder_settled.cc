// OutcomeRecorder, the part about mail that no server is asked about, and about recipients
// whose route changed.
#include <utility>

#include "engine/outcome_recorder.h"
#include "engine/routing/router.h"

namespace mailrace::engine {

void OutcomeRecorder::PassBlocked(std::unique_ptr<JobPass> pass, const Trouble& trouble,
                                  const TransactionFacts& facts) {
  const QueuedMessage& message = *pass->message();
  Disposition disposition;
  disposition.status = trouble.status;
  disposition.text = trouble.text;
  for (const uint32_t index : pass->recipients()) {
    if (!message.pending(index)) continue;
    LogRecipient(*pass, index, disposition, facts);
    context_->stats->deferred.Add();
    pass->deferred.push_back({index, trouble.status, trouble.text, facts.relay.host});
  }
  pass->deferral_text = trouble.text;
  if (context_->ages->Expired(message.envelope(), context_->settings->retry)) {
    ExpirePending(pass.get());
  } else if (context_->settings->limits.failed_cohort_limit <= 0) {
    NoteDeferral(pass.get(), disposition, facts.relay);
  }
  // Uncharged unless `any_deferred`.
  Settle(std::move(pass));
}

void OutcomeRecorder::PassFailed(std::unique_ptr<JobPass> pass, EnhancedStatus status,
                                 const std::string& text) {
  const QueuedMessage& message = *pass->message();
  Disposition disposition;
  disposition.kind = Disposition::Kind::kFailed;
  disposition.status = status;
  disposition.text = text;
  pass->Abandon();
  pass->any_untried = false;
  for (const uint32_t index : pass->recipients()) {
    if (!message.pending(index)) continue;
    LogRecipient(*pass, index, disposition, TransactionFacts{});
    context_->stats->failed.Add();
    pass->failed.push_back({index, status, text});
  }
  Settle(std::move(pass));
}

void OutcomeRecorder::PassSettled(std::unique_ptr<JobPass> pass, Disposition disposition,
                                  const TransactionFacts& facts) {
  using Kind = Disposition::Kind;
  if (disposition.kind == Kind::kFailed && context_->settings->soft_bounce) {
    disposition.kind = Kind::kDeferred;
    disposition.status.klass = 4;
  }
  const QueuedMessage& message = *pass->message();
  pass->Abandon();
  pass->any_untried = false;
  for (const uint32_t index : pass->recipients()) {
    if (!message.pending(index)) continue;
    LogRecipient(*pass, index, disposition, facts);
    switch (disposition.kind) {
      case Kind::kDelivered:
        context_->stats->discarded.Add();
        pass->delivered.push_back(index);
        break;
      case Kind::kFailed:
        context_->stats->failed.Add();
        pass->failed.push_back({index, disposition.status, disposition.text, facts.relay.host});
        break;
      default:
        context_->stats->deferred.Add();
        pass->deferred.push_back({index, disposition.status, disposition.text, facts.relay.host});
        NoteDeferral(pass.get(), disposition, facts.relay);
    }
  }
  PassFinished(std::move(pass));
}

// Recipients that a reload routed to this nexthop while another job is trying them: the job
// is theirs too, and looks at them again.
bool OutcomeRecorder::OwesMore(const QueuedMessage& message, const std::string& nexthop) const {
  if (message.pending_count() == 0) return false;
  const queue::Envelope& envelope = message.envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (message.pending(i) && NexthopOf(envelope, i, *context_->settings) == nexthop) return true;
  }
  return false;
}

}  // namespace mailrace::engine
