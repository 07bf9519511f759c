#include "engine/outcome_recorder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/sync.h"
#include "engine/logs/log_lines.h"
#include "engine/message_memory.h"
#include "engine/parking.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// How long a commit that failed for want of space waits before it is tried again.
constexpr absl::Duration kSpaceRetryDelay = absl::Seconds(1);

// Kept of an expired recipient's last reason in what its sender reads.
constexpr std::string_view kExpiredText = "delivery time expired";

bool Contains(const std::vector<ReportedRecipient>& reports, uint32_t index) {
  return std::any_of(reports.begin(), reports.end(),
                     [index](const ReportedRecipient& r) { return r.index == index; });
}

// Nothing that this pass found out settles `index`.
bool StillOwed(const JobPass& pass, uint32_t index) {
  const bool delivered =
      std::find(pass.delivered.begin(), pass.delivered.end(), index) != pass.delivered.end();
  return pass.message()->pending(index) && !delivered && !Contains(pass.failed, index) &&
         !Contains(pass.relayed, index);
}

// The operator's decision is policy: RFC 3463 X.7.0.
constexpr EnhancedStatus kBounceStatus{5, 7, 0};

std::string BounceText(std::string_view reason) {
  std::string text = "returned to sender by the operator of the mail system";
  if (!reason.empty()) text += fmt::format(": {}", reason);
  return text;
}

void KeepRetry(QueuedMessage* message, queue::WriteSet* writes) {
  writes->PutRetry(message->id(), message->retry());
  message->set_has_retry();
}

// Stages are measured on the monotonic clock and logged by the wall clock.
absl::Time WallOf(const Loop& loop, MonoTime t) { return loop.wall() - (loop.now() - t); }

}  // namespace

// Outcomes of one message on their way to the disk. With the committer it owns itself, and
// outlives the recorder if need be; waiting for space, or for an older one of its message,
// it is the recorder's.
class OutcomeRecorder::Request final : public queue::CommitRequest {
 public:
  // `message`: kept in memory until its outcomes are on the disk; null if there are none.
  Request(OutcomeRecorder* recorder, QueueId id, std::shared_ptr<QueuedMessage> message)
      : CommitRequest(recorder->context_->commit_sink),
        recorder_(recorder),
        id_(id),
        message_(std::move(message)) {
    urgent = false;
  }

  uint32_t recipients = 0;  // Whose outcome becomes durable with this.
  bool removes = false;     // The message's records go.
  MonoTime submitted;
  std::vector<std::shared_ptr<QueuedMessage>> notices;
  std::vector<FlightMark> marks;  // Cleared when this is durable.
  std::unique_ptr<Request> next;  // Of the same message, submitted while this was on its way.
  QueueId id() const { return id_; }
  std::function<void()> durable;  // Somebody waits for it; may be null.

  // The recorder goes while the committer has this: nothing of the shard may be touched,
  // nor anything kept that knows it.
  void Orphan() {
    recorder_ = nullptr;
    message_.reset();
    notices.clear();
    marks.clear();
    next.reset();
    durable = nullptr;
  }
  bool waits_for_space() const { return waits_for_space_; }
  void Again() {
    waits_for_space_ = false;
    status = absl::OkStatus();
  }

  void Done() override {
    std::unique_ptr<Request> self(this);
    if (recorder_ == nullptr) return;
    ShardContext& context = *recorder_->context_;
    if (absl::IsResourceExhausted(status)) {
      // What was sent stays sent; only its record waits for space (reliability.md 5.1).
      if (!retrying_) {
        retrying_ = true;
        ++recorder_->retrying_;
        context.logger->Warning("qmgr", fmt::format("{}: cannot record outcome: {}; will try again",
                                                    id_.ToString(), status.ToString()));
      }
      waits_for_space_ = true;
      recorder_->AwaitSpace(std::move(self));
      return;
    }
    const bool latest = next == nullptr;
    recorder_->Proceed(this);
    if (retrying_ && --recorder_->retrying_ == 0) recorder_->unblocked_();
    if (--recorder_->outstanding_ == 0) recorder_->durable_.NotifyAll();
    if (!status.ok()) {
      context.fatal(status);  // Comes back in a simulation only.
      return;
    }
    context.stats->uncommitted_outcomes.Subtract(recipients);
    // The turn that brings this has not looked at the clock yet.
    if (recipients > 0) {
      context.stats->stages.Of(Stage::kRecord).Record(context.loop->clock().Mono() - submitted);
    }
    recorder_->ClearMarks(&marks);
    if (removes) recorder_->Removed(id_);
    if (message_ != nullptr) context.parking->Recorded(message_, latest);
    for (std::shared_ptr<QueuedMessage>& notice : notices) recorder_->enqueue_(std::move(notice));
    if (durable != nullptr) durable();
  }

 private:
  OutcomeRecorder* recorder_;  // Null: it is gone.
  const QueueId id_;
  std::shared_ptr<QueuedMessage> message_;
  bool retrying_ = false;         // It was refused for want of space.
  bool waits_for_space_ = false;  // Now: else the committer has it.
};

OutcomeRecorder::OutcomeRecorder(ShardContext* context,
                                 std::function<void(std::shared_ptr<QueuedMessage>)> enqueue,
                                 std::function<void()> unblocked)
    : context_(context),
      notifier_(context),
      enqueue_(std::move(enqueue)),
      unblocked_(std::move(unblocked)),
      try_again_([this] { TryAgain(); }),
      durable_(context->loop) {}

OutcomeRecorder::~OutcomeRecorder() {
  for (const auto& [id, line] : lines_) {
    if (!line.first->waits_for_space()) line.first->Orphan();
  }
}

void OutcomeRecorder::ClearMarks(std::vector<FlightMark>* marks) {
  for (const FlightMark mark : *marks) context_->flights->Clear(mark);
  marks->clear();
}

void OutcomeRecorder::Submit(std::unique_ptr<Request> request) {
  context_->stats->uncommitted_outcomes.Add(request->recipients);
  request->submitted = context_->loop->now();
  ++outstanding_;
  // Whoever sees a notice in the store before we know that it is there leaves it alone.
  for (const std::shared_ptr<QueuedMessage>& notice : request->notices) {
    context_->memory->Add(notice);
  }
  // What is written of one message is written in its order: an older change that a full
  // disk makes us try again must neither undo nor outlive a newer one.
  const auto [line, only] = lines_.try_emplace(request->id(), Line{request.get(), request.get()});
  if (!only) {
    Request* const before = std::exchange(line->second.last, request.get());
    before->next = std::move(request);
    return;
  }
  // Given back through the commit sink; deletes itself in Done().
  context_->committer->Submit(request.release());
}

void OutcomeRecorder::Proceed(Request* done) {
  if (done->next == nullptr) {
    lines_.erase(done->id());
    return;
  }
  lines_.find(done->id())->second.first = done->next.get();
  done->next->urgent = true;  // It has waited once.
  context_->committer->Submit(done->next.release());
}

void OutcomeRecorder::AwaitSpace(std::unique_ptr<Request> request) {
  without_space_.push_back(std::move(request));
  if (!try_again_.armed()) {
    context_->loop->timers().Arm(&try_again_, context_->loop->now() + kSpaceRetryDelay);
  }
}

void OutcomeRecorder::TryAgain() {
  for (std::unique_ptr<Request>& request : std::exchange(without_space_, {})) {
    request->Again();
    context_->committer->Submit(request.release());
  }
}

void OutcomeRecorder::Record(QueueId id, queue::WriteSet writes,
                             std::shared_ptr<QueuedMessage> message,
                             std::function<void()> durable) {
  auto request = std::make_unique<Request>(this, id, std::move(message));
  request->writes = std::move(writes);
  request->urgent = durable != nullptr;
  request->durable = std::move(durable);
  Submit(std::move(request));
}

Task<bool> OutcomeRecorder::AwaitDurable(MonoTime deadline) {
  while (outstanding_ > 0) {
    const MonoTime end = latest_.value_or(deadline);
    const bool notified = co_await durable_.Wait(end);
    if (!notified) co_return false;
  }
  co_return true;
}

void OutcomeRecorder::Hurry(MonoTime latest) {
  latest_ = latest;
  durable_.NotifyAll();
}

void OutcomeRecorder::LogRecipient(const JobPass& pass, uint32_t recipient,
                                   const Disposition& disposition, const TransactionFacts& facts) {
  const Loop& loop = *context_->loop;
  const queue::Envelope& envelope = pass.message()->envelope();
  logs::DeliveryLine line;
  line.queue_id = envelope.id.ToString();
  line.recipient = envelope.recipients[recipient].address;
  line.relay = facts.relay;
  line.connection_uses = facts.uses;
  line.tls_features = facts.tls_features;
  line.stamps.arrival = envelope.arrival;
  line.stamps.active = WallOf(loop, pass.job()->ready_since);
  line.stamps.handed_off = WallOf(loop, pass.taken);
  line.stamps.connection_up = WallOf(loop, std::max(pass.connected, pass.taken));
  line.stamps.done = loop.wall();
  line.dsn = disposition.status;
  line.text = disposition.text;
  switch (disposition.kind) {
    case Disposition::Kind::kDelivered:
      line.status = logs::DeliveryStatus::kSent;
      break;
    case Disposition::Kind::kFailed:
      line.status = logs::DeliveryStatus::kBounced;
      break;
    case Disposition::Kind::kDeferred:
    case Disposition::Kind::kUntried:
      line.status = logs::DeliveryStatus::kDeferred;
      break;
  }
  context_->logger->Info(facts.agent, logs::FormatDelivery(line, context_->settings->log_style));
}

bool OutcomeRecorder::WantsRelayedNotice(const JobPass& pass, uint32_t recipient,
                                         const TransactionFacts& facts) const {
  const queue::Envelope& envelope = pass.message()->envelope();
  const uint8_t notify = envelope.recipients[recipient].notify;
  if (notify == 0) return false;  // Hardly anybody asks.
  const BounceFacts asked{DsnAction::kRelayed, envelope.reverse_path, notify, facts.offers_dsn};
  return WantsDsn(asked, context_->settings->bounces);
}

bool OutcomeRecorder::TransactionFinished(const DeliveryTransaction* transaction,
                                          const TransactionFacts& facts) {
  JobPass* pass = transaction->pass();
  bool delivered = false;
  ShardStats& stats = *context_->stats;
  const MonoTime now = context_->loop->now();
  bool may_have_it = false;
  for (const transport::smtp::OutgoingRecipient& recipient : transaction->recipients) {
    Disposition disposition = JudgeRecipient(recipient, transaction->failure, facts.relay,
                                             context_->settings->soft_bounce);
    if (disposition.kind == Disposition::Kind::kUntried) {
      pass->any_untried = true;
      continue;
    }
    LogRecipient(*pass, recipient.index, disposition, facts);
    may_have_it =
        may_have_it || disposition.uncertain || disposition.kind == Disposition::Kind::kDelivered;
    const auto report = [&] {
      return ReportedRecipient{recipient.index, disposition.status, disposition.text,
                               facts.relay.host,
                               recipient.reply ? recipient.reply->ToString() : std::string()};
    };
    switch (disposition.kind) {
      case Disposition::Kind::kDelivered:
        stats.delivered.Add();
        stats.of_class[pass->job()->priority].delivered.Add();
        delivered = true;
        if (WantsRelayedNotice(*pass, recipient.index, facts)) {
          pass->relayed.push_back(report());
        } else {
          pass->delivered.push_back(recipient.index);
        }
        break;
      case Disposition::Kind::kFailed:
        stats.failed.Add();
        pass->failed.push_back(report());
        break;
      default:
        stats.deferred.Add();
        if (disposition.uncertain) stats.uncertain.Add();
        pass->deferred.push_back(report());
        NoteDeferral(pass, disposition, facts.relay);
    }
  }
  if (transaction->flight().recipients > 0) {
    if (may_have_it) {
      pass->marks.push_back(transaction->flight());
    } else {
      context_->flights->Clear(transaction->flight());  // The server said no.
    }
  }
  if (transaction->failure &&
      transaction->failure->text.starts_with(transport::smtp::kContentUnfitText)) {
    pass->unfit = true;
  }
  stats.transaction_time.Record(now - pass->taken);
  if (delivered) {
    const absl::Duration time =
        context_->ages->Age(pass->message()->envelope(), context_->settings->retry);
    stats.delivery_time.Record(time);
    transaction->NoteStages(now, time, &stats.stages);
    stats.of_class[pass->job()->priority].delivery_time.Record(time);
  }
  // More transactions of this pass are under way: what is done need not wait for them. But
  // a notice is one for all recipients of the pass, and in the batch that records them.
  if (!pass->finished() && !pass->delivered.empty() && pass->relayed.empty()) {
    auto request = std::make_unique<Request>(this, pass->message()->id(), pass->message());
    AddDelivered(pass, request.get());
    Submit(std::move(request));
  }
  return delivered;
}

void OutcomeRecorder::NoteDeferral(JobPass* pass, const Disposition& disposition,
                                   const logs::Peer& relay) {
  pass->any_deferred = true;
  pass->deferral_text = disposition.text;
  pass->attempt = {context_->loop->wall(), context_->loop->now() - pass->taken, disposition.status,
                   logs::PeerNamePort(relay), disposition.text};
}

void OutcomeRecorder::AddDelivered(JobPass* pass, Request* request) {
  QueuedMessage& message = *pass->message();
  std::move(pass->marks.begin(), pass->marks.end(), std::back_inserter(request->marks));
  pass->marks.clear();
  for (const uint32_t index : pass->delivered) {
    message.MarkFinal(index);
    ++request->recipients;
  }
  if (message.pending_count() > 0) {
    for (const uint32_t index : pass->delivered) {
      request->writes.PutDone(message.id(), index, queue::Final::kDelivered);
      message.done_indices().push_back(index);
    }
  }
  pass->delivered.clear();
}

void OutcomeRecorder::AddRemoval(QueuedMessage* message, Request* request) {
  request->writes.RemoveMessage(message->id(), message->envelope().chunks, message->done_indices(),
                                message->has_retry());
  request->removes = true;
  message->set_queued(false);
}

void OutcomeRecorder::PassFinished(std::unique_ptr<JobPass> pass) {
  QueuedMessage& message = *pass->message();
  const bool over = context_->ages->Expired(message.envelope(), context_->settings->retry);
  if (pass->any_deferred && over) ExpirePending(pass.get());
  Settle(std::move(pass));
}

void OutcomeRecorder::Settle(std::unique_ptr<JobPass> pass) {
  const OperatorWish* const wish = context_->wishes->Find(pass->message()->id());
  if (wish != nullptr && wish->kind == OperatorWish::Kind::kBounce) {
    BouncePending(pass.get(), wish->reason);
  }
  const bool late = !pass->deferred.empty() && notifier_.DelayNoticeDue(*pass->message());
  if (!pass->failed.empty() || !pass->relayed.empty() || late) {
    context_->tasks->Spawn(NotifyAndConclude(std::move(pass)));
    return;
  }
  Conclude(std::move(pass), nullptr);
}

// Writes what the pass brought and gives its job back.
void OutcomeRecorder::Conclude(std::unique_ptr<JobPass> pass, std::unique_ptr<Request> request) {
  QueuedMessage& message = *pass->message();
  if (request == nullptr)
    request = std::make_unique<Request>(this, pass->message()->id(), pass->message());
  AddDelivered(pass.get(), request.get());
  const bool owed = std::any_of(pass->recipients().begin(), pass->recipients().end(),
                                [&](uint32_t index) { return message.pending(index); });
  queue::Job* job = pass->job();
  const OperatorWish* const wish = context_->wishes->Find(message.id());
  if (owed && wish != nullptr && wish->kind == OperatorWish::Kind::kBounce) {
    // Wished while another notice of this pass was being made.
    BouncePending(pass.get(), wish->reason);
    if (!request->writes.empty()) {
      Submit(std::move(request));
    } else {
      pass->marks = std::move(request->marks);
    }
    Settle(std::move(pass));
    return;
  }
  const bool unwanted_then = wish != nullptr && wish->kind == OperatorWish::Kind::kRemove;
  if (!owed && !unwanted_then && OwesMore(message, job->nexthop->name())) {
    context_->scheduler->Release(job, context_->loop->now());
  } else if (!owed || unwanted_then) {
    context_->scheduler->Finish(job);
  } else if (pass->unfit) {
    // Damaged in the queue: neither sent nor dropped until somebody looks (O-06).
    context_->logger->Log(
        Severity::kError, "qmgr",
        fmt::format("{}: message is held: {}", message.id().ToString(), pass->deferral_text));
    message.retry().held = true;
    KeepRetry(&message, &request->writes);
    context_->scheduler->Hold(job);
  } else if (wish != nullptr) {
    if (pass->any_deferred) Charge(pass.get());
    message.retry().held = true;
    KeepRetry(&message, &request->writes);
    context_->scheduler->Hold(job);
  } else if (pass->any_deferred) {
    Charge(pass.get());
    KeepRetry(&message, &request->writes);
    context_->scheduler->Defer(
        job, context_->loop->now() + (message.retry().next_attempt - context_->loop->wall()));
  } else {
    // Beyond the budget it is read back at its turn: each probe of a dead destination would
    // leave one more message in memory.
    if (context_->stats->memory_octets.value() > context_->settings->memory_octets_max) {
      job->message.reset();
    }
    context_->scheduler->Release(job, context_->loop->now());
  }
  // A deferral, and a rate delay that begins with the job's end, are new deadlines.
  context_->rearm();
  const bool unwanted = wish != nullptr && EndWish(message.id());
  if (message.pending_count() == 0 || unwanted) {
    AddRemoval(&message, request.get());
    // Jobs that a reload left without recipients have nothing to wait for any more.
    context_->scheduler->ForEachOf(message.id(), [this](queue::Job* other) {
      if (other->state != queue::Job::State::kInFlight) context_->scheduler->Remove(other);
    });
  } else if (owed && unwanted_then && pass->any_deferred) {
    // Others of its attempts end later. Should a crash come first, this one is known, and who
    // may have got the message.
    Charge(pass.get());
    KeepRetry(&message, &request->writes);
  }
  request->durable = std::move(pass->recorded);
  request->urgent = request->durable != nullptr;
  if (!request->writes.empty()) Submit(std::move(request));
}

// An attempt that was made and ended in a deferral.
void OutcomeRecorder::Charge(JobPass* pass) {
  queue::RetryState& retry = pass->message()->retry();
  ++retry.attempts;
  const queue::RetrySchedule& schedule = context_->settings->retry;
  retry.next_attempt = schedule.NextAttempt(
      context_->ages->Arrival(pass->message()->envelope(), schedule), context_->loop->wall());
  retry.last_reason = pass->deferral_text.substr(0, queue::kLastReasonOctetsMax);
  retry.Note(std::move(pass->attempt));
}

// Once nothing of the message is in flight any more, what an operator wanted of it is
// fulfilled. True if that was its removal.
bool OutcomeRecorder::EndWish(QueueId id) {
  bool in_flight = false;
  context_->scheduler->ForEachOf(id, [&in_flight](queue::Job* job) {
    in_flight = in_flight || job->state == queue::Job::State::kInFlight;
  });
  if (in_flight) return false;
  const bool remove = context_->wishes->Find(id)->kind == OperatorWish::Kind::kRemove;
  context_->wishes->Forget(id);
  return remove;
}

void OutcomeRecorder::BouncePending(JobPass* pass, std::string_view reason) {
  const std::string text = BounceText(reason);
  for (const uint32_t index : pass->recipients()) {
    if (!StillOwed(*pass, index)) continue;
    context_->stats->failed.Add();
    pass->failed.push_back({index, kBounceStatus, text});
  }
  std::erase_if(pass->deferred,
                [pass](const ReportedRecipient& r) { return Contains(pass->failed, r.index); });
}

void OutcomeRecorder::ExpirePending(JobPass* pass) {
  const queue::Envelope& envelope = pass->message()->envelope();
  context_->logger->Info("qmgr", logs::ExpiredLine(envelope.id.ToString(), envelope.reverse_path));
  for (const uint32_t index : pass->recipients()) {
    if (!StillOwed(*pass, index)) continue;
    context_->stats->expired.Add();
    ReportedRecipient expired;
    const auto last = std::find_if(pass->deferred.rbegin(), pass->deferred.rend(),
                                   [index](const auto& r) { return r.index == index; });
    expired.attempted = last != pass->deferred.rend();
    if (expired.attempted) expired = std::move(*last);
    expired.index = index;
    expired.status = {4, 4, 7};
    expired.expired = true;
    const std::string& why = expired.text.empty() ? pass->deferral_text : expired.text;
    expired.text =
        why.empty() ? std::string(kExpiredText) : fmt::format("{}: {}", kExpiredText, why);
    pass->failed.push_back(std::move(expired));
  }
  pass->deferred.clear();
  pass->any_deferred = false;
}

// The outcomes and the notices about them are one atomic batch: a crash leaves both or
// neither (reliability.md D-12).
Task<void> OutcomeRecorder::NotifyAndConclude(std::unique_ptr<JobPass> pass) {
  const std::shared_ptr<QueuedMessage> message = pass->message();
  const queue::Octets content = co_await notifier_.ContentHead(message.get());
  const std::string_view head = content == nullptr ? std::string_view() : *content;
  auto request = std::make_unique<Request>(this, message->id(), message);
  const NoticeBatch batch{&request->writes, &request->notices};
  notifier_.Tell(*message, DsnAction::kFailed, pass->failed, head, batch);
  notifier_.Tell(*message, DsnAction::kRelayed, pass->relayed, head, batch);
  for (const ReportedRecipient& relayed : pass->relayed) pass->delivered.push_back(relayed.index);
  pass->relayed.clear();
  AddFailed(pass.get(), request.get());
  AddDelivered(pass.get(), request.get());
  if (!pass->deferred.empty()) {
    notifier_.TellOfDelay(message.get(), pass->deferred, message->retry().last_reason, head, batch);
  }
  Conclude(std::move(pass), std::move(request));
}

void OutcomeRecorder::AddFailed(JobPass* pass, Request* request) {
  QueuedMessage& message = *pass->message();
  for (const ReportedRecipient& failed : pass->failed) {
    message.MarkFinal(failed.index);
    ++request->recipients;
  }
  if (message.pending_count() > pass->delivered.size()) {
    for (const ReportedRecipient& failed : pass->failed) {
      request->writes.PutDone(message.id(), failed.index,
                              failed.expired ? queue::Final::kExpired : queue::Final::kFailed);
      message.done_indices().push_back(failed.index);
    }
  }
  pass->failed.clear();
}

Task<void> OutcomeRecorder::WarnOfDelay(std::shared_ptr<QueuedMessage> message, std::string why) {
  if (!notifier_.DelayNoticeDue(*message)) co_return;
  const queue::Octets content = co_await notifier_.ContentHead(message.get());
  // Meanwhile it may have ended, by a delivery or by an operator.
  if (message->pending_count() == 0 || !message->queued()) co_return;
  auto request = std::make_unique<Request>(this, message->id(), message);
  notifier_.TellOfDelay(message.get(), {}, why, content == nullptr ? std::string_view() : *content,
                        {&request->writes, &request->notices});
  if (!request->writes.empty()) Submit(std::move(request));
}

void OutcomeRecorder::PassBounced(std::unique_ptr<JobPass> pass, std::string_view reason) {
  const queue::Envelope& envelope = pass->message()->envelope();
  context_->logger->Info("postsuper",
                         logs::ForceExpiredLine(envelope.id.ToString(), envelope.reverse_path));
  PassFailed(std::move(pass), kBounceStatus, BounceText(reason));
}

void OutcomeRecorder::Removed(QueueId id) {
  if (context_->flights != nullptr) context_->flights->Forget(id);
  context_->stats->removed_messages.Add();
  context_->logger->Info("qmgr", logs::RemovedLine(id.ToString()));
}

}  // namespace mailrace::engine
