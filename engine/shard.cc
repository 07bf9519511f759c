#include "engine/shard.h"

#include <algorithm>
#include <utility>

#include "base/sync.h"
#include "engine/free_space.h"
#include "engine/logs/log_lines.h"
#include "engine/recovered_job.h"
#include "engine/routing/router.h"
#include "engine/shard_helper.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Until a job looks again for recipients that another one is trying.
constexpr absl::Duration kTakenPause = absl::Seconds(1);

}  // namespace

// A change somebody waits for.
class Shard::CommitWait final : public queue::CommitRequest {
 public:
  CommitWait(queue::CommitSink* sink, Loop* loop) : CommitRequest(sink), done_(loop) {}
  void Done() override { done_.Set(status); }
  OneShot<absl::Status>& done() { return done_; }

 private:
  OneShot<absl::Status> done_;
};

Shard::Shard(ShardContext context, uint64_t highest_id)
    : context_(std::move(context)),
      memory_(context_.reader, &stats_),
      scheduler_(context_.settings->limits.Share(context_.shard, context_.shards)),
      parking_(&context_, &memory_, highest_id,
               [this](queue::NexthopQueue* nexthop) { Pump(nexthop); }),
      tasks_(context_.loop),
      ids_(context_.shard, highest_id),
      ages_(&context_.loop->clock(), &ids_, highest_id,
            context_.shard == 0 ? context_.logger : nullptr),
      recorder_(
          &context_,
          [this](std::shared_ptr<QueuedMessage> message) { Enqueue(std::move(message)); },
          [this] { PumpAll(); }),
      expiry_sweep_(&context_, &memory_, &recorder_,
                    [this](queue::Job* job) { return BeginPass(job); }),
      parked_expiry_(&context_, &memory_, &expiry_sweep_),
      delay_watch_(&context_, &memory_, &recorder_),
      operations_(&context_, &memory_, &recorder_),
      tick_([this] { Tick(); }) {
  scheduler_.set_tenant_weights(context_.settings->tenant_weight);
  context_.scheduler = &scheduler_;
  context_.memory = &memory_;
  context_.parking = &parking_;
  context_.tasks = &tasks_;
  context_.ids = &ids_;
  context_.ages = &ages_;
  context_.stats = &stats_;
  context_.tls_sessions = &tls_sessions_;
  context_.dead_addresses = &dead_addresses_;
  context_.tolerances = &tolerances_;
  context_.salted_passwords = &salted_passwords_;
  context_.wishes = &wishes_;
  context_.rearm = [this] { ArmTick(); };
  context_.destination_died = [this] {
    expiry_sweep_.Start();
    parked_expiry_.Start();
  };
  delay_watch_.Arm();
  memory_.set_on_load_end([this] { PumpLoadLine(); });
  scheduler_.set_on_end([this](const queue::Job& job) { parking_.JobEnded(job); });
  scheduler_.set_on_ready([this](queue::NexthopQueue* nexthop) { Pump(nexthop); });
}

Shard::~Shard() = default;

QueueId Shard::NewId() {
  ages_.Look();
  return ids_.Next(context_.loop->wall());
}

absl::Status Shard::Admit(uint64_t octets) {
  if (draining_) return absl::UnavailableError("shutting down");
  const uint64_t need = FreeSpaceNeeded(*context_.settings, octets);
  if (context_.free_octets != nullptr && context_.free_octets() < need) {
    return absl::ResourceExhaustedError("insufficient space on the queue's file system");
  }
  if (recorder_.blocked()) {
    return absl::ResourceExhaustedError("outcomes wait for space on the queue's file system");
  }
  return absl::OkStatus();
}

Task<absl::Status> Shard::Commit(queue::WriteSet writes, absl::Duration* waited) {
  CommitWait wait(context_.commit_sink, context_.loop);
  wait.writes = std::move(writes);
  context_.committer->Submit(&wait);
  const absl::Status status = co_await wait.done();
  if (waited != nullptr) *waited = wait.waited;
  if (!status.ok() && !absl::IsResourceExhausted(status)) context_.fatal(status);
  co_return status;
}

Task<absl::Status> Shard::PutChunk(QueueId id, uint32_t chunk, queue::Octets content) {
  queue::WriteSet writes;
  if (chunk == 0) writes.OpenIntake(id);
  writes.PutChunk(id, chunk, std::move(content));
  const absl::Status status = co_await Commit(std::move(writes), nullptr);
  co_return status;
}

void Shard::Abandon(QueueId id, uint32_t chunks) {
  if (chunks == 0) return;
  queue::WriteSet writes;
  writes.RemoveIntake(id, chunks);
  recorder_.Record(id, std::move(writes), nullptr);
}

Task<absl::Status> Shard::Accept(queue::Envelope envelope, queue::Octets last_chunk,
                                 std::optional<MonoTime> begun) {
  AcceptTimes times;
  times.submitted = context_.loop->now();
  queue::WriteSet writes;
  if (envelope.chunks > 0) writes.PutChunk(envelope.id, envelope.chunks - 1, last_chunk);
  if (envelope.chunks > 1) writes.CloseIntake(envelope.id);
  writes.PutMessage(envelope);
  auto message = std::make_shared<QueuedMessage>(std::move(envelope));
  if (!message->streamed()) message->set_content(std::move(last_chunk));
  memory_.Add(message);
  const absl::Status status = co_await Commit(std::move(writes), &times.commit_wait);
  if (!status.ok()) {
    stats_.intake_refused.Add();
    co_return status;
  }
  times.durable = context_.loop->now();
  stats_.commit_time.Record(times.durable - times.submitted);
  if (begun) {
    times.begun = *begun;
    message->set_accept_times(times);
  }
  stats_.accepted_messages.Add();
  stats_.OfClass(message->envelope().priority).accepted_messages.Add();
  stats_.accepted_recipients.Add(message->envelope().recipients.size());
  stats_.accepted_octets.Add(message->envelope().octets);
  Enqueue(std::move(message));
  co_return absl::OkStatus();
}

void Shard::Enqueue(std::shared_ptr<QueuedMessage> message) {
  const queue::Envelope& envelope = message->envelope();
  context_.logger->Info("qmgr", logs::ActiveLine(envelope.id.ToString(), envelope.reverse_path,
                                                 envelope.octets, envelope.recipients.size()));
  message->set_queued(true);
  memory_.Add(message);
  const bool keep = memory_.octets() <= context_.settings->memory_octets_max &&
                    !context_.settings->delivery_deferred;
  // Grouped by nexthop; with a relayhost there is one.
  std::vector<RecoveredJob> jobs;
  AppendJobs(envelope, *context_.settings, &jobs);
  for (const RecoveredJob& owed : jobs) {
    queue::Job* const job =
        parking_.Place(owed, keep ? message : nullptr, Parking::Origin::kArrival);
    if (job != nullptr) Pump(job->nexthop);
  }
  ArmTick();
}

void Shard::Recover(const RecoveredJob& job) {
  if (!std::exchange(recovering_, true)) parking_.set_recovering(true);
  parking_.Place(job, nullptr, Parking::Origin::kStore);
  ArmTick();
}

void Shard::RecoveryEnded() {
  recovering_ = false;
  parking_.set_recovering(false);
  PumpAll();
}

void Shard::Pump(queue::NexthopQueue* nexthop) {
  if (draining_ || recovering_ || nexthop->ready() == 0 || nexthop->suspended(context_.loop->now()))
    return;
  if (destinations_.size() >= kDestinationsKept) ForgetIdleDestinations();
  std::unique_ptr<Destination>& destination = destinations_[nexthop->name()];
  if (destination == nullptr) {
    destination = std::make_unique<Destination>(&context_, &recorder_, static_cast<JobFeed*>(this),
                                                nexthop->name());
  }
  destination->Pump();
}

void Shard::PumpAll() {
  // The call-backs may forget idle nexthops: their names are collected first.
  std::vector<std::string> names;
  scheduler_.ForEachNexthop([&names](queue::NexthopQueue& nexthop) {
    if (nexthop.ready() > 0) names.push_back(nexthop.name());
  });
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (queue::NexthopQueue* nexthop = scheduler_.FindNexthop(name)) Pump(nexthop);
  }
}

void Shard::ForgetIdleDestinations() {
  for (auto it = destinations_.begin(); it != destinations_.end();) {
    const auto here = it++;
    if (here->second->idle()) destinations_.erase(here);
  }
}

std::unique_ptr<JobPass> Shard::Next(const std::string& nexthop_name) {
  if (draining_) return nullptr;
  queue::NexthopQueue* nexthop = scheduler_.FindNexthop(nexthop_name);
  if (nexthop == nullptr) return nullptr;
  const MonoTime now = context_.loop->now();
  while (memory_.may_load(context_.settings->memory_octets_max)) {
    queue::Job* job = nexthop->Take(now);
    if (job == nullptr) {
      ArmTick();  // A rate delay that refused us ends by itself.
      return nullptr;
    }
    if (job->message == nullptr) job->message = memory_.Find(job->id);
    if (job->message == nullptr) {
      Load(job);
      continue;
    }
    std::unique_ptr<JobPass> pass = BeginPass(job);
    if (pass != nullptr) return pass;
  }
  if (nexthop->ready() > 0 && waits_to_load_.insert(nexthop_name).second) {
    load_line_.push_back(nexthop_name);
  }
  return nullptr;
}

// A load ended: the nexthops that were refused one have their turn.
void Shard::PumpLoadLine() {
  for (size_t left = load_line_.size(); left > 0; --left) {
    if (!memory_.may_load(context_.settings->memory_octets_max)) return;
    const std::string name = std::move(load_line_.front());
    load_line_.pop_front();
    waits_to_load_.erase(name);
    if (queue::NexthopQueue* const nexthop = scheduler_.FindNexthop(name)) Pump(nexthop);
  }
}

std::unique_ptr<JobPass> Shard::BeginPass(queue::Job* job) {
  auto message = std::static_pointer_cast<QueuedMessage>(job->message);
  const std::string& here = job->nexthop->name();
  std::vector<uint32_t> recipients;
  bool taken = false;
  const queue::Envelope& envelope = message->envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (!message->pending(i)) continue;
    // A reload may route recipients elsewhere than when the job was made: these have, or
    // get, jobs of their own (Parking::Reload).
    if (NexthopOf(envelope, i, *context_.settings) != here) continue;
    taken = taken || message->taken(i);
    if (!message->taken(i)) recipients.push_back(i);
  }
  const MonoTime now = context_.loop->now();
  if (recipients.empty()) {
    // Being tried by a job from before a reload: it is seen then what is left to do.
    if (taken) {
      scheduler_.Defer(job, now + kTakenPause);
      ArmTick();
    } else {
      scheduler_.Finish(job);
    }
    return nullptr;
  }
  stats_.queue_time.Record(now - job->ready_since);
  stats_.of_class[job->priority].queue_time.Record(now - job->ready_since);
  auto pass = std::make_unique<JobPass>(job, std::move(message), std::move(recipients),
                                        context_.settings->limits.recipient_limit, context_.loop,
                                        context_.reader);
  pass->taken = now;
  pass->flights = context_.flights;
  return pass;
}

void Shard::Load(queue::Job* job) {
  memory_.Load(job->id, [this, job](absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
    Loaded(job, std::move(found));
  });
}

void Shard::Loaded(queue::Job* job, absl::StatusOr<std::shared_ptr<QueuedMessage>> found) {
  queue::NexthopQueue* nexthop = job->nexthop;
  const QueueId id = job->id;
  nexthop->Pin();  // The job may be its last.
  if (found.ok()) {
    // Its destination may have died meanwhile: beyond the budget it is read again at its turn.
    const bool wanted = !nexthop->suspended(context_.loop->now()) ||
                        memory_.octets() <= context_.settings->memory_octets_max;
    if (wanted) job->message = *found;
    scheduler_.Release(job, context_.loop->now());
    expiry_sweep_.CameBack(job);
  } else if (absl::IsNotFound(found.status())) {
    // Another job of it, made by a reload (Parking::Reload), was through with it meanwhile.
    scheduler_.Finish(job);
  } else {
    // Never an empty or cut message (reliability.md 5.1): held until somebody looks.
    context_.logger->Log(Severity::kError, "qmgr",
                         fmt::format("{}: cannot be read, message is held: {}", id.ToString(),
                                     found.status().ToString()));
    scheduler_.Hold(job);
  }
  operations_.AfterLoad(id);
  ArmTick();
  Pump(nexthop);
  nexthop->Unpin();
}

void Shard::ArmTick() {
  const MonoTime wake = scheduler_.NextWake();
  if (wake.infinite()) return;
  if (tick_.armed() && tick_.deadline() <= wake) return;
  context_.loop->timers().Arm(&tick_, wake);
}

void Shard::Tick() {
  ages_.Look();
  scheduler_.Advance(context_.loop->now());
  ArmTick();
}

bool Shard::Operate(QueueId id, Operation::Kind kind) {
  auto result = std::make_shared<OperationResult>(OperationResult::kDone);
  operations_.Operate(id, {kind, ""}, [result](OperationResult said) { *result = said; }, nullptr);
  return *result == OperationResult::kDone;
}

void Shard::Flush() {
  scheduler_.FlushAll(context_.loop->now());
  parking_.Flush();
  ArmTick();
}

void Shard::Reload(std::shared_ptr<const Settings> settings) {
  const bool was_deferred = context_.settings->delivery_deferred;
  const bool routes_changed = RoutesDiffer(*context_.settings, *settings);
  context_.settings = std::move(settings);
  parking_.Reload(routes_changed, ids_.last());
  scheduler_.set_limits(context_.settings->limits.Share(context_.shard, context_.shards));
  scheduler_.set_tenant_weights(context_.settings->tenant_weight);
  // Trust may have changed: nothing of the old configuration is resumed.
  tls_sessions_.Clear();
  dead_addresses_.Clear();
  tolerances_.Clear();
  if (was_deferred && !context_.settings->delivery_deferred) Flush();
  TryDeadDestinations();
  delay_watch_.Arm();
}

// What made a destination dead may be what was corrected: a password, an authority.
void Shard::TryDeadDestinations() {
  const MonoTime now = context_.loop->now();
  std::vector<std::string> names;
  scheduler_.ForEachNexthop([&](queue::NexthopQueue& nexthop) {
    // Without an end it is an operator's wish.
    if (nexthop.suspended(now) && !nexthop.suspended_until().infinite()) {
      names.push_back(nexthop.name());
    }
  });
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (queue::NexthopQueue* nexthop = scheduler_.FindNexthop(name)) nexthop->Resume();
  }
}

queue::Scheduler::Counts Shard::counts() const {
  queue::Scheduler::Counts counts = scheduler_.counts();
  const Backlog::Counts parked = parking_.counts();
  counts.ready += parked.ready;
  counts.deferred += parked.deferred;
  counts.held += parked.held;
  return counts;
}

void Shard::Drain() {
  draining_ = true;
  expiry_sweep_.Stop();
  parked_expiry_.Stop();
  delay_watch_.Stop();
  parking_.Stop();
  context_.cancelled = true;
  context_.network->CancelConnects();
  context_.resolver->Cancel();
  if (context_.tokens != nullptr) context_.tokens->Cancel();
  for (auto& [name, destination] : destinations_) destination->Drain();
}

void Shard::Cancel() {
  Drain();
  for (auto& [name, destination] : destinations_) destination->Cancel();
  recorder_.Hurry(context_.loop->now() + kLastOutcomes);
}

Task<void> Shard::Join(MonoTime deadline) {
  co_await tasks_.Join();
  co_await recorder_.AwaitDurable(deadline);
}

}  // namespace mailrace::engine
