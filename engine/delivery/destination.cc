#include "engine/delivery/destination.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace mailrace::engine {

using transport::smtp::ClientSession;
using transport::smtp::Failure;
using transport::smtp::OutgoingMessage;

namespace {

// A dead destination is tried again soon at first: most outages are short.
constexpr absl::Duration kFirstSuspension = absl::Seconds(10);

// Messages given up in one go: the shard has other things to do.
constexpr int kGiveUpMax = 1000;

}  // namespace

// One session and the passes that are on it. The session's source of transactions.
class Destination::Worker final : public transport::smtp::TransactionSource {
 public:
  explicit Worker(Destination* destination) : destination_(destination) {}

  OutgoingMessage* Next() override;
  void Finished(OutgoingMessage* message) override;

  // A pass to begin the next run with.
  void Offer(std::unique_ptr<JobPass> pass) { passes_.push_back(std::move(pass)); }
  bool has_pass() const { return !passes_.empty(); }
  std::unique_ptr<JobPass> TakeOffered() {
    std::unique_ptr<JobPass> pass = std::move(passes_.front());
    passes_.pop_front();
    return pass;
  }
  // The session died: what it did not take goes back.
  void AbandonPasses();

  bool MayTakeMore() const;
  // `settings`: those that the session was made by.
  void Adopt(SessionSetup made, std::shared_ptr<const Settings> settings) {
    setup = std::move(made);
    session_made_ = destination_->context_->loop->now();
    settings_ = std::move(settings);
    uses_ = 0;
    delivered_any = false;
  }

  SessionSetup setup;
  ClientSession* running = nullptr;  // Being set up or in use; for Cancel.
  bool delivered_any = false;        // Since the session was made: positive feedback.
  bool cancelled = false;
  std::list<std::unique_ptr<Worker>>::iterator self;

 private:
  Destination* const destination_;
  std::list<std::unique_ptr<JobPass>> passes_;  // In order of transactions.
  MonoTime session_made_;
  std::shared_ptr<const Settings> settings_;
  uint32_t uses_ = 0;
};

bool Destination::Worker::MayTakeMore() const {
  const Settings& settings = *settings_;
  if (destination_->draining_ || cancelled || destination_->recorder_->blocked()) return false;
  // A reload may have changed policy or credentials: old sessions take no new mail.
  if (settings_ != destination_->context_->settings) return false;
  if (settings.connection_reuse_count_limit > 0 && uses_ >= settings.connection_reuse_count_limit) {
    return false;
  }
  if (!settings.connection_reuse && uses_ >= 1) return false;
  return destination_->context_->loop->now() - session_made_ < settings.connection_reuse_time_limit;
}

OutgoingMessage* Destination::Worker::Next() {
  ShardContext& context = *destination_->context_;
  if (cancelled || destination_->draining_) return nullptr;
  DeliveryTransaction* transaction = nullptr;
  if (!passes_.empty()) transaction = passes_.back()->NextTransaction();
  if (transaction == nullptr) {
    if (!MayTakeMore()) return nullptr;
    std::unique_ptr<JobPass> pass = destination_->feed_->Next(destination_->nexthop_);
    if (pass == nullptr) return nullptr;
    pass->connected = pass->taken;
    transaction = pass->NextTransaction();
    passes_.push_back(std::move(pass));
  }
  transaction->set_use(++uses_);
  if (uses_ > 1) context.stats->sessions_reused.Add();
  return transaction;
}

void Destination::Worker::Finished(OutgoingMessage* message) {
  auto* transaction = static_cast<DeliveryTransaction*>(message);
  JobPass* pass = transaction->pass();
  pass->TransactionFinished();
  const TransactionFacts facts{*setup.relay, transaction->use(), setup.tls_features};
  destination_->recorder_->TransactionFinished(transaction, facts);
  if (!delivered_any && !pass->delivered.empty()) {
    delivered_any = true;
    destination_->suspension_ = kFirstSuspension;
  }
  if (!pass->delivered.empty()) {
    if (queue::NexthopQueue* nexthop =
            destination_->context_->scheduler->FindNexthop(destination_->nexthop_)) {
      nexthop->SessionSucceeded();
    }
  }
  if (!pass->finished()) return;
  // Transactions finish in order, so the finished pass is the first.
  std::unique_ptr<JobPass> owned = std::move(passes_.front());
  passes_.pop_front();
  destination_->recorder_->PassFinished(std::move(owned));
}

void Destination::Worker::AbandonPasses() {
  while (!passes_.empty()) {
    std::unique_ptr<JobPass> pass = std::move(passes_.front());
    passes_.pop_front();
    pass->Abandon();
    destination_->recorder_->PassFinished(std::move(pass));
  }
}

Destination::Destination(ShardContext* context, OutcomeRecorder* recorder, JobFeed* feed,
                         std::string nexthop)
    : context_(context),
      recorder_(recorder),
      feed_(feed),
      nexthop_(std::move(nexthop)),
      suspension_(kFirstSuspension) {}

Destination::~Destination() = default;

void Destination::Pump() {
  if (draining_ || recorder_->blocked()) return;
  queue::NexthopQueue* nexthop = context_->scheduler->FindNexthop(nexthop_);
  if (nexthop == nullptr || nexthop->suspended(context_->loop->now())) return;
  size_t ready = nexthop->ready();
  // Idle sessions first, then new ones: one for each job that nobody is on the way to.
  for (size_t i = idle_.size(); i > 0 && ready > 0; --i, --ready) {
    if (idle_[i - 1]->setup.session != nullptr) idle_[i - 1]->setup.session->Interrupt();
  }
  const auto window = static_cast<size_t>(std::max(1, nexthop->window()));
  while (ready > connecting_ && workers_.size() < window) {
    workers_.push_back(std::make_unique<Worker>(this));
    Worker* worker = workers_.back().get();
    worker->self = std::prev(workers_.end());
    ++connecting_;
    context_->tasks->Spawn(Work(worker));
  }
}

void Destination::Drain() {
  draining_ = true;
  for (Worker* worker : idle_) {
    if (worker->setup.session != nullptr) worker->setup.session->Interrupt();
  }
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (worker->setup.session != nullptr) continue;
    worker->cancelled = true;
    if (worker->running != nullptr) worker->running->Cancel();
  }
}

void Destination::Cancel() {
  Drain();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->cancelled = true;
    if (worker->running != nullptr) worker->running->Cancel();
  }
}

Task<void> Destination::Work(Worker* worker) {
  bool connecting = true;  // Counted in connecting_ until the first job is on its way.
  bool took_mail = false;
  while (!draining_ && !worker->cancelled) {
    if (!worker->has_pass()) {
      std::unique_ptr<JobPass> pass;
      const bool may_take =
          worker->setup.session == nullptr ? !recorder_->blocked() : worker->MayTakeMore();
      if (may_take) pass = feed_->Next(nexthop_);
      if (pass != nullptr) {
        took_mail = true;
        pass->connected = pass->taken;
        worker->Offer(std::move(pass));
      }
    }
    if (!worker->has_pass()) {
      if (worker->setup.session == nullptr) break;
      const bool usable = co_await AwaitMail(worker);
      if (usable) continue;
      break;
    }
    if (worker->setup.session == nullptr) {
      co_await Connect(worker, worker->TakeOffered());
      if (connecting) {
        connecting = false;
        --connecting_;
      }
      if (worker->setup.session == nullptr) break;
      continue;
    }
    std::optional<Failure> failure = co_await worker->setup.session->RunTransactions(worker);
    if (failure) {
      context_->stats->sessions_open.Subtract();
      const TransactionFacts facts{*worker->setup.relay, 1, worker->setup.tls_features};
      const Trouble trouble = ExplainFailure(*failure, facts.relay);
      worker->running = nullptr;
      worker->setup.session.reset();
      worker->AbandonPasses();
      // A pooled connection that had died while idle says nothing about the server.
      if (!failure->stale_session && failure->kind != Failure::Kind::kLocal) {
        SessionBroke(trouble, facts);
      }
    }
  }
  if (connecting) --connecting_;
  if (worker->setup.session != nullptr) {
    co_await worker->setup.session->Quit();
    context_->stats->sessions_open.Subtract();
    worker->running = nullptr;
    worker->setup.session.reset();
  }
  worker->AbandonPasses();
  workers_.erase(worker->self);
  // Mail may have become ready while this worker was on its way out. But if it got none
  // (it is being loaded, or the rate delay holds it back), the next worker would get none
  // either: whoever has it ready calls.
  if (took_mail) Pump();
}

Task<void> Destination::Connect(Worker* worker, std::unique_ptr<JobPass> pass) {
  const MonoTime begun = context_->loop->now();
  const absl::Duration age =
      context_->ages->Age(pass->message()->envelope(), context_->settings->retry);
  // The policy may be replaced while the session is being made by the old one.
  std::shared_ptr<const Settings> settings = context_->settings;
  SessionSetup made = co_await MakeSession(context_, nexthop_, age, &worker->running);
  if (made.session != nullptr) {
    context_->stats->connects.Add();
    context_->stats->sessions_open.Add();
    context_->stats->connect_time.Record(context_->loop->now() - begun);
    worker->running = made.session.get();
    worker->Adopt(std::move(made), std::move(settings));
    pass->connected = context_->loop->now();
    worker->Offer(std::move(pass));
    co_return;
  }
  worker->running = nullptr;
  if (worker->cancelled) {
    // Our own doing: it says nothing about the server.
    pass->Abandon();
    recorder_->PassFinished(std::move(pass));
    co_return;
  }
  context_->stats->connect_failures.Add();
  if (made.permanent) {
    recorder_->PassFailed(std::move(pass), made.trouble.status, made.trouble.text);
    co_return;
  }
  // First the verdict on the destination, so that the job finds it suspended.
  const TransactionFacts facts{made.relay.value_or(logs::Peer{}), 1, made.tls_features};
  SessionBroke(made.trouble, facts);
  recorder_->PassBlocked(std::move(pass), made.trouble, facts);
}

Task<bool> Destination::AwaitMail(Worker* worker) {
  const Settings& settings = *context_->settings;
  if (!worker->MayTakeMore() || !settings.connection_reuse) co_return false;
  idle_.push_back(worker);
  const MonoTime deadline = context_->loop->now() + settings.connection_cache_time_limit;
  const bool usable = co_await worker->setup.session->AwaitIdle(deadline);
  std::erase(idle_, worker);
  if (!usable) {
    // Closed or said 421 while nobody had anything to say: no message is charged.
    context_->stats->sessions_open.Subtract();
    worker->running = nullptr;
    worker->setup.session.reset();
    co_return !draining_;
  }
  co_return context_->loop->now() < deadline && !draining_;
}

void Destination::SessionBroke(const Trouble& trouble, const TransactionFacts& facts) {
  queue::NexthopQueue* nexthop = context_->scheduler->FindNexthop(nexthop_);
  if (nexthop == nullptr || !nexthop->SessionFailed()) return;
  GiveUpExpired(trouble, facts);
  DestinationDied(trouble);
}

// What waits for a dead destination is not tried one by one, so it is here that its
// lifetime ends. The oldest is in front: at the first that is young enough it is over.
void Destination::GiveUpExpired(const Trouble& trouble, const TransactionFacts& facts) {
  for (int i = 0; i < kGiveUpMax; ++i) {
    std::unique_ptr<JobPass> pass = feed_->Next(nexthop_);
    if (pass == nullptr) return;
    const bool expired =
        context_->ages->Expired(pass->message()->envelope(), context_->settings->retry);
    if (!expired) {
      pass->Abandon();
      recorder_->PassFinished(std::move(pass));
      return;
    }
    recorder_->PassBlocked(std::move(pass), trouble, facts);
  }
}

void Destination::DestinationDied(const Trouble& trouble) {
  queue::NexthopQueue* nexthop = context_->scheduler->FindNexthop(nexthop_);
  const absl::Duration longest = context_->settings->retry.minimal_backoff;
  const absl::Duration pause = std::min(suspension_, longest);
  suspension_ = std::min(suspension_ * 2, longest);
  context_->logger->Warning(
      "qmgr", fmt::format("destination {}: delivery suspended for {}s, {} messages wait: {}",
                          nexthop_, absl::ToInt64Seconds(absl::Ceil(pause, absl::Seconds(1))),
                          nexthop->jobs(), trouble.text));
  nexthop->Suspend(context_->loop->now() + pause, trouble.text);
  context_->rearm();
}

}  // namespace mailrace::engine
