#include "engine/delivery/destination.h"

#include <algorithm>
#include <utility>

#include "engine/delivery/session_security.h"
#include "fmt/format.h"

namespace mailrace::engine {

using transport::smtp::ClientSession;
using transport::smtp::Failure;
using transport::smtp::OutgoingMessage;

namespace {

// A dead destination is tried again soon at first: most outages are short.
constexpr absl::Duration kFirstSuspension = absl::Seconds(10);

// Messages of which one session may have handed out a part at a time.
constexpr size_t kPassesMax = 4;

// What a transport that asks no server says of all mail.
Disposition Verdict(const HopName& hop) {
  using Kind = Disposition::Kind;
  const Kind kind = hop.transport == config::Transport::kError   ? Kind::kFailed
                    : hop.transport == config::Transport::kRetry ? Kind::kDeferred
                                                                 : Kind::kDelivered;
  return {kind, false, hop.status, hop.text};
}

}  // namespace

// One session and the passes that are on it. The session's source of transactions.
class Destination::Worker final : public transport::smtp::TransactionSource {
 public:
  explicit Worker(Destination* destination) : destination_(destination) {}

  OutgoingMessage* Next() override;
  void Finished(OutgoingMessage* message) override;
  bool MoreFollow() const override;

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
  // The most urgent pass that has recipients left to hand out, or null.
  JobPass* Begun() const;
  bool LetsUrgentBy(const JobPass& begun) const;
  bool HasItsShare() const;
  // `settings`: those that the session was made by.
  void Adopt(SessionSetup made, std::shared_ptr<const Settings> settings) {
    setup = std::move(made);
    session_made_ = destination_->context_->loop->now();
    settings_ = std::move(settings);
    uses_ = 0;
    delivered_any = false;
  }

  // Keeps what tickets the server has sent by now: under TLS 1.3 they come behind the handshake.
  void KeepTlsSessions() {
    // Trust may have changed since: what the old settings vouched for is worth nothing.
    if (settings_ != destination_->context_->settings) return;
    SaveTlsSessions(destination_->context_, *settings_, setup.session.get(), setup.key);
  }

  SessionSetup setup;
  ClientSession* running = nullptr;  // Being set up or in use; for Cancel.
  bool delivered_any = false;        // Since the session was made: positive feedback.
  bool cancelled = false;
  std::list<std::unique_ptr<Worker>>::iterator self;

 private:
  Destination* const destination_;
  std::list<std::unique_ptr<JobPass>> passes_;  // In order of their first transactions.
  MonoTime session_made_;
  std::shared_ptr<const Settings> settings_;
  uint32_t uses_ = 0;
  size_t out_ = 0;  // Transactions that the session has not given back.
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

JobPass* Destination::Worker::Begun() const {
  JobPass* begun = nullptr;
  for (const std::unique_ptr<JobPass>& pass : passes_) {
    if (!pass->more()) continue;
    if (begun == nullptr || pass->job()->priority < begun->job()->priority) begun = pass.get();
  }
  return begun;
}

// A message to a thousand recipients is twenty transactions: urgent mail need not wait for
// all of them. What has begun keeps its turn, so few may be open at once.
bool Destination::Worker::LetsUrgentBy(const JobPass& begun) const {
  if (passes_.size() >= kPassesMax || !MayTakeMore()) return false;
  const queue::NexthopQueue* nexthop =
      destination_->context_->scheduler->FindNexthop(destination_->nexthop_);
  return nexthop != nullptr && nexthop->MoreUrgentReady(begun.job()->priority);
}

// Behind unanswered transactions another is welcome as far as the mail goes round: what one
// session hoards in its stream, others, perhaps idle, cannot send at once.
bool Destination::Worker::HasItsShare() const {
  if (out_ < 2 || destination_->workers_.size() < 2) return false;
  const queue::NexthopQueue* nexthop =
      destination_->context_->scheduler->FindNexthop(destination_->nexthop_);
  const size_t ready = nexthop == nullptr ? 0 : nexthop->ready();
  return out_ > ready / destination_->workers_.size();
}

OutgoingMessage* Destination::Worker::Next() {
  ShardContext& context = *destination_->context_;
  if (cancelled || destination_->draining_ || HasItsShare()) return nullptr;
  JobPass* chosen = Begun();
  if (chosen == nullptr ? MayTakeMore() : LetsUrgentBy(*chosen)) {
    if (std::unique_ptr<JobPass> pass = destination_->feed_->Next(destination_->nexthop_)) {
      pass->connected = pass->taken;
      chosen = pass.get();
      passes_.push_back(std::move(pass));
    }
  }
  if (chosen == nullptr) return nullptr;
  DeliveryTransaction* const transaction = chosen->NextTransaction(setup.session->recipients_max());
  transaction->set_use(++uses_);
  ++out_;
  if (uses_ > 1) context.stats->sessions_reused.Add();
  return transaction;
}

// Of what is ready, one for each session: the others take theirs.
bool Destination::Worker::MoreFollow() const {
  if (Begun() != nullptr) return true;
  if (!MayTakeMore()) return false;
  const queue::NexthopQueue* nexthop =
      destination_->context_->scheduler->FindNexthop(destination_->nexthop_);
  return nexthop != nullptr && nexthop->ready() >= destination_->workers_.size();
}

void Destination::Worker::Finished(OutgoingMessage* message) {
  auto* transaction = static_cast<DeliveryTransaction*>(message);
  --out_;
  JobPass* pass = transaction->pass();
  pass->TransactionFinished();
  const TransactionFacts facts{*setup.relay, transaction->use(), setup.tls_features,
                               setup.session->capabilities().dsn};
  const bool delivered = destination_->recorder_->TransactionFinished(transaction, facts);
  if (!delivered_any && delivered) {
    delivered_any = true;
    destination_->suspension_ = kFirstSuspension;
  }
  if (delivered) {
    if (queue::NexthopQueue* nexthop =
            destination_->context_->scheduler->FindNexthop(destination_->nexthop_)) {
      nexthop->SessionSucceeded();
      // The window may have opened. A backlog brings no arrival that would notice.
      destination_->Pump();
    }
  }
  if (!pass->finished()) return;
  const auto finished = std::find_if(passes_.begin(), passes_.end(),
                                     [pass](const auto& each) { return each.get() == pass; });
  std::unique_ptr<JobPass> owned = std::move(*finished);
  passes_.erase(finished);
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
      hop_(HopName::Parse(nexthop_)),
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
    worker->KeepTlsSessions();
    if (std::optional<std::string> news = worker->setup.session->tolerance().TakeNews()) {
      context_->logger->Warning(
          "smtp", fmt::format("server {} {}", logs::PeerName(*worker->setup.relay), *news));
    }
    if (failure) {
      context_->stats->sessions_open.Subtract();
      const TransactionFacts facts{*worker->setup.relay, 1, worker->setup.tls_features};
      const Trouble trouble = ExplainFailure(*failure, facts.relay);
      worker->running = nullptr;
      worker->setup.session.reset();
      worker->AbandonPasses();
      // A pooled connection that had died while idle says nothing about the server.
      if (!failure->stale_session && failure->kind != Failure::Kind::kLocal) {
        SessionBroke(trouble);
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
  if (hop_.transport != config::Transport::kSmtp) {
    recorder_->PassSettled(std::move(pass), Verdict(hop_),
                           {.agent = config::TransportName(hop_.transport)});
    co_return;
  }
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
    if (made.costs.tls > absl::ZeroDuration()) context_->stats->tls_time.Record(made.costs.tls);
    if (made.costs.auth > absl::ZeroDuration()) context_->stats->auth_time.Record(made.costs.auth);
    pass->session_costs = made.costs;
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
    const TransactionFacts facts{made.relay.value_or(logs::Peer{}), 1, made.tls_features};
    recorder_->PassSettled(
        std::move(pass),
        {Disposition::Kind::kFailed, false, made.trouble.status, made.trouble.text}, facts);
    co_return;
  }
  // First the verdict on the destination, so that the job finds it suspended.
  const TransactionFacts facts{made.relay.value_or(logs::Peer{}), 1, made.tls_features};
  queue::NexthopQueue* nexthop = context_->scheduler->FindNexthop(nexthop_);
  if (nexthop != nullptr && nexthop->SetupFailed()) DestinationDied(made.trouble);
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

void Destination::SessionBroke(const Trouble& trouble) {
  queue::NexthopQueue* nexthop = context_->scheduler->FindNexthop(nexthop_);
  if (nexthop != nullptr && nexthop->SessionFailed()) DestinationDied(trouble);
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
  context_->destination_died();
}

}  // namespace mailrace::engine
