#include "engine/parking.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "engine/routing/router.h"
#include "fmt/format.h"

namespace mailrace::engine {

namespace {

// Between scans that brought nothing, and after one that failed.
constexpr absl::Duration kPause = absl::Seconds(1);
// At least this between two looks: every job that ends is an occasion.
constexpr absl::Duration kLookInterval = absl::Milliseconds(10);

constexpr size_t kShareOfRoom = 3;

// A nexthop's queue costs about as much as three jobs.
constexpr size_t kNexthopInJobs = 3;

uint64_t HashOf(QueueId id, std::string_view nexthop) { return absl::HashOf(id.value, nexthop); }

ParkedAs AsOf(const RecoveredJob& job) {
  if (job.held) return ParkedAs::kHeld;
  return job.tried ? ParkedAs::kDeferred : ParkedAs::kReady;
}

// The nexthops of those that are still owed.
absl::flat_hash_set<std::string> OwedNexthops(const QueuedMessage& message,
                                              const Settings& settings) {
  absl::flat_hash_set<std::string> owed;
  const queue::Envelope& envelope = message.envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (message.pending(i)) owed.insert(NexthopOf(envelope, i, settings));
  }
  return owed;
}

bool Owes(const QueuedMessage& message, std::string_view nexthop, const Settings& settings) {
  const queue::Envelope& envelope = message.envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (message.pending(i) && NexthopOf(envelope, i, settings) == nexthop) return true;
  }
  return false;
}

// Somebody is trying a recipient that is owed there: after a reload a job for another nexthop.
bool Tries(const QueuedMessage& message, std::string_view nexthop, const Settings& settings) {
  const queue::Envelope& envelope = message.envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (message.pending(i) && message.taken(i) && NexthopOf(envelope, i, settings) == nexthop) {
      return true;
    }
  }
  return false;
}

}  // namespace

Parking::Parking(ShardContext* context, MessageMemory* memory, uint64_t highest_id,
                 std::function<void(queue::NexthopQueue*)> pump)
    : context_(context),
      memory_(memory),
      share_{context->shard, context->shards, highest_id},
      pump_(std::move(pump)),
      look_([this] { Look(); }) {}

Parking::~Parking() = default;

// A reading of the store for a scan, shared with the thread that does it.
struct Parking::Asked {
  BacklogScan scan;
  BacklogFinds finds;  // Written there, read here once the answer has come.
  RecentChanges::Reading reading = 0;
  uint64_t generation = 0;
};

// --- Who may be in memory ------------------------------------------------------------

size_t Parking::jobs_in_memory() const {
  const queue::Scheduler& scheduler = *context_->scheduler;
  const queue::Scheduler::Counts counts = scheduler.counts();
  size_t jobs = counts.ready + counts.deferred + counts.held + counts.in_flight;
  if (scheduler.nexthops() > queue::Scheduler::kIdleNexthopsMax) {
    jobs += kNexthopInJobs * (scheduler.nexthops() - queue::Scheduler::kIdleNexthopsMax);
  }
  return jobs;
}

Backlog::Room Parking::RoomOf(std::string_view nexthop) const {
  const size_t limit = context_->settings->jobs_max;
  const size_t all = jobs_in_memory();
  const size_t left = limit > all ? limit - all : 0;
  const queue::NexthopQueue* const queue = context_->scheduler->FindNexthop(nexthop);
  const size_t jobs = queue != nullptr ? queue->jobs() : 0;
  // As many more as keep it at kShareOfRoom times what is left then.
  size_t room = kShareOfRoom * left > jobs ? (kShareOfRoom * left - jobs) / (kShareOfRoom + 1) : 0;
  // Nobody waits for those that wait themselves.
  const bool idle = queue == nullptr || queue->ready() + queue->in_flight() == 0;
  if (idle) room = std::max<size_t>(room, 1);
  return {room, idle || room >= std::max<size_t>(1, (jobs + room) / 4)};
}

bool Parking::crowded() const { return jobs_in_memory() > context_->settings->jobs_max; }

bool Parking::MayEnter(const RecoveredJob& job, bool waits, Origin origin) const {
  const size_t limit = context_->settings->jobs_max;
  const size_t all = jobs_in_memory();
  if (AwaitsRediscovery(job.id)) return true;
  if (waits) return all < limit / 2;
  const bool urgent = job.priority == 0 && origin == Origin::kArrival;
  if (urgent && all < limit + limit / 8) return true;
  const size_t room = RoomOf(job.nexthop).jobs;
  if (room == 0 || origin == Origin::kStore || !backlog_.HasReady(job.nexthop)) return room > 0;
  const queue::NexthopQueue* const queue = context_->scheduler->FindNexthop(job.nexthop);
  return queue == nullptr || queue->jobs() < room;
}

MonoTime Parking::DueOf(const RecoveredJob& job) const {
  const MonoTime now = context_->loop->now();
  // defer_transports: kept, not tried, until the configuration says otherwise or an
  // operator flushes.
  if (context_->settings->delivery_deferred) return MonoTime::Infinite();
  const absl::Time wall = context_->loop->wall();
  if (job.next_attempt <= wall) return now;
  return now + std::min(job.next_attempt - wall, context_->settings->retry.maximal_backoff);
}

queue::Job* Parking::Place(const RecoveredJob& job, std::shared_ptr<QueuedMessage> message,
                           Origin origin) {
  const MonoTime due = DueOf(job);
  if (MayEnter(job, job.held || due > context_->loop->now(), origin)) {
    return Add(job, std::move(message), due);
  }
  Park(job, due);
  return nullptr;
}

queue::Job* Parking::Add(const RecoveredJob& job, std::shared_ptr<QueuedMessage> message,
                         MonoTime due) {
  return context_->scheduler->Add(job.id, job.nexthop, std::move(message), job.recipients,
                                  job.priority, due, context_->loop->now(), job.held, job.tenant);
}

void Parking::Park(const RecoveredJob& job, MonoTime due) {
  ++parkings_;
  if (due <= context_->loop->now()) due = MonoTime();
  backlog_.Park(job.id, job.nexthop, AsOf(job), due, !context_->settings->delivery_deferred);
  LookAt(std::min(context_->loop->now() + kLookInterval, backlog_.NextDue()));
}

// --- What happens to jobs ------------------------------------------------------------

void Parking::JobEnded(const queue::Job& job) {
  changes_.Note(HashOf(job.id, job.nexthop->name()));
  if (!backlog_.empty()) LookAt(context_->loop->now() + kLookInterval);
}

void Parking::Recorded(const std::shared_ptr<QueuedMessage>& message, bool latest) {
  if (changes_.any_open()) {
    // Who was found in the store before, and has ended, is not in memory any more to say so.
    const Settings& settings = *context_->settings;
    const absl::flat_hash_set<std::string> owed =
        message->queued() ? OwedNexthops(*message, settings) : absl::flat_hash_set<std::string>();
    const queue::Envelope& envelope = message->envelope();
    for (size_t i = 0; i < envelope.recipients.size(); ++i) {
      const std::string nexthop = NexthopOf(envelope, i, settings);
      if (!owed.contains(nexthop)) changes_.Note(HashOf(message->id(), nexthop));
    }
  }
  if (latest && message->queued()) {
    ParkWaiting(message);
    LookAgain(*message);
  }
  // What was deferred or held has left its line: its nexthop may have nothing to try now.
  if (!backlog_.empty()) LookAt(context_->loop->now() + kLookInterval);
}

// A message has one retry state for all of its jobs. What made it due now, say a release, makes
// those due that are parked for later.
void Parking::LookAgain(const QueuedMessage& message) {
  const bool due_now = message.has_retry() && !message.retry().held &&
                       message.retry().next_attempt <= context_->loop->wall();
  if (!due_now || backlog_.empty()) return;
  for (const std::string& nexthop : OwedNexthops(message, *context_->settings)) {
    if (!InMemory(message.id(), nexthop)) backlog_.Look(message.id(), nexthop);
  }
}

// Its state is on the disk: it may be read from there when its time has come.
void Parking::ParkWaiting(const std::shared_ptr<QueuedMessage>& message) {
  const Settings& settings = *context_->settings;
  const QueueId id = message->id();
  context_->scheduler->ForEachOf(id, [&](queue::Job* job) {
    if (job->state != queue::Job::State::kInFlight && HasDouble(*job)) {
      context_->scheduler->Remove(job);
      return;
    }
    if (job->state == queue::Job::State::kDeferred) job->message.reset();
    const std::string& nexthop = job->nexthop->name();
    const bool waits_long = job->state == queue::Job::State::kDeferred &&
                            job->due - context_->loop->now() > Backlog::kInterval &&
                            !job->due.infinite();
    const bool held = job->state == queue::Job::State::kHeld;
    const bool ready = job->state == queue::Job::State::kReady;
    // One that is held since it could not be read is not held on the disk.
    const bool as_on_disk = message->has_retry() && message->retry().held == held;
    if (!as_on_disk || AwaitsRediscovery(id)) return;
    const bool half_full = jobs_in_memory() > settings.jobs_max / 2;
    const bool may = (waits_long && (half_full || backlog_.HasReady(nexthop))) ||
                     (held && half_full) || (ready && crowded());
    // One from before a reload may have nothing left to do for its nexthop: nobody would
    // find it there. One from after it may be over as soon as an older one's attempt is.
    if (!may || !Owes(*message, nexthop, settings) || Tries(*message, nexthop, settings)) return;
    if (ready && message->retry().next_attempt > context_->loop->wall()) return;
    RecoveredJob parked;
    parked.id = id;
    parked.nexthop = nexthop;
    parked.tried = true;
    parked.held = held;
    // What the disk says counts: that may be sooner, if the message was released since.
    parked.next_attempt = message->retry().next_attempt;
    const MonoTime due = waits_long ? DueOf(parked) : MonoTime();
    context_->scheduler->Remove(job);
    Park(parked, due);
  });
}

// A reload may give a message a second job for a nexthop at which one is in flight: once that
// ended either does for both.
bool Parking::HasDouble(const queue::Job& job) const {
  size_t jobs = 0;
  context_->scheduler->ForEachOf(
      job.id, [&](queue::Job* each) { jobs += each->nexthop == job.nexthop ? 1 : 0; });
  return jobs > 1;
}

void Parking::Flush() {
  backlog_.Flush();
  LookAt(context_->loop->now());
}

void Parking::Reload(bool routes_changed, QueueId last_id) {
  if (!routes_changed) return;
  backlog_.Forget();
  ++generation_;
  rediscover_from_ = QueueId{0};
  rediscover_to_ = last_id;
  LookAt(context_->loop->now());
}

void Parking::set_recovering(bool recovering) {
  recovering_ = recovering;
  if (!recovering) LookAt(context_->loop->now());
}

Backlog::Counts Parking::counts() const {
  Backlog::Counts counts = backlog_.counts();
  if (context_->settings->delivery_deferred) {
    counts.deferred += std::exchange(counts.ready, 0);
  }
  return counts;
}

// --- The operator --------------------------------------------------------------------

bool Parking::InMemory(QueueId id, std::string_view nexthop) const {
  bool found = false;
  context_->scheduler->ForEachOf(
      id, [&](queue::Job* job) { found = found || job->nexthop->name() == nexthop; });
  return found;
}

std::vector<RecoveredJob> Parking::ParkedJobs(const queue::RecoveredMessage& message) const {
  std::vector<RecoveredJob> jobs;
  if (MayHave(message.envelope.id)) jobs = JobsNotInMemory(message);
  return jobs;
}

std::vector<RecoveredJob> Parking::JobsNotInMemory(const queue::RecoveredMessage& message) const {
  std::vector<RecoveredJob> jobs;
  AppendJobs(message, *context_->settings, &jobs);
  std::erase_if(jobs, [this](const RecoveredJob& job) {
    return IsOver(job) || InMemory(job.id, job.nexthop);
  });
  return jobs;
}

void Parking::Fetch(QueueId id, Then then) {
  const RecentChanges::Reading reading = changes_.Begin();
  context_->reader->ReadMessage(id, [this, id, reading, then = std::move(then)](
                                        absl::StatusOr<queue::RecoveredMessage> message) mutable {
    std::optional<std::vector<Fetched>> fetched(std::in_place);
    if (message.ok()) fetched = Unpark(*message, reading);
    changes_.End(reading);
    if (!fetched && !stopped_) {
      Fetch(id, std::move(then));  // Changed meanwhile, perhaps by being parked: once more.
      return;
    }
    then(absl::IsNotFound(message.status()) ? absl::OkStatus() : message.status());
    if (fetched) ParkUnchanged(*fetched);
    context_->rearm();
  });
}

// Nothing: what was read may be out of date.
std::optional<std::vector<Parking::Fetched>> Parking::Unpark(const queue::RecoveredMessage& message,
                                                             RecentChanges::Reading reading) {
  std::vector<Fetched> fetched;
  if (!share_.Owns(message.envelope.id)) return fetched;
  std::vector<RecoveredJob> jobs;
  AppendJobs(message, *context_->settings, &jobs);
  for (const RecoveredJob& job : jobs) {
    if (changes_.Since(reading, HashOf(job.id, job.nexthop))) return std::nullopt;
  }
  for (const RecoveredJob& job : jobs) {
    if (IsOver(job) || InMemory(job.id, job.nexthop)) continue;
    if (!AwaitsRediscovery(job.id)) backlog_.Unpark(job.nexthop, AsOf(job));
    changes_.Note(HashOf(job.id, job.nexthop));
    // Deferred for a moment: ready jobs are taken as soon as they are there.
    const MonoTime due = std::max(DueOf(job), context_->loop->now() + absl::Nanoseconds(1));
    Add(job, nullptr, due);
    fetched.push_back({job, due});
  }
  return fetched;
}

// Operators may go through a queue of any length, and few of its mail be what they look for.
void Parking::ParkUnchanged(const std::vector<Fetched>& fetched) {
  for (const Fetched& each : fetched) {
    const RecoveredJob& job = each.job;
    context_->scheduler->ForEachOf(job.id, [&](queue::Job* it) {
      if (it->nexthop->name() != job.nexthop || AwaitsRediscovery(job.id)) return;
      const bool as_it_was = job.held
                                 ? it->state == queue::Job::State::kHeld
                                 : it->state == queue::Job::State::kDeferred && it->due == each.due;
      if (!as_it_was || jobs_in_memory() <= context_->settings->jobs_max / 2) return;
      context_->scheduler->Remove(it);
      Park(job, each.due <= context_->loop->now() + absl::Nanoseconds(1) ? MonoTime() : each.due);
    });
  }
}

// --- Bringing mail back --------------------------------------------------------------

void Parking::LookAt(MonoTime when) {
  if (stopped_ || when.infinite() || (look_.armed() && look_.deadline() <= when)) return;
  context_->loop->timers().Arm(&look_, when);
}

void Parking::Look() {
  if (stopped_ || recovering_ || asking_) return;
  const MonoTime now = context_->loop->now();
  backlog_.Advance(now);
  BacklogScan scan;
  if (rediscover_from_) {
    scan.everything = true;
    scan.wishes.from = *rediscover_from_;
    scan.wishes.to = rediscover_to_;
    Ask(std::move(scan));
    return;
  }
  std::optional<BacklogWishes> wishes =
      backlog_.Wishes([this](std::string_view nexthop) { return RoomOf(nexthop); });
  if (!wishes) {
    // Whatever makes room tells; should it not, mail waits no longer than this.
    const MonoTime latest = backlog_.wants_any() ? now + Backlog::kInterval : MonoTime::Infinite();
    LookAt(std::min(latest, backlog_.NextDue()));
    return;
  }
  scan.wishes = *std::move(wishes);
  Ask(std::move(scan));
}

void Parking::Ask(BacklogScan scan) {
  scan.share = share_;
  scan.settings = context_->settings;
  scan.now = context_->loop->wall();
  auto asked = std::make_shared<Asked>();
  asked->scan = std::move(scan);
  asked->reading = changes_.Begin();
  asked->generation = generation_;
  asking_ = true;
  context_->reader->Walk(
      [asked](queue::Store* store) {
        absl::StatusOr<BacklogFinds> finds = RunScan(store, asked->scan);
        if (finds.ok()) asked->finds = *std::move(finds);
        return finds.status();
      },
      [this, asked](const absl::Status& status) {
        asking_ = false;
        if (asked->generation == generation_) {
          Answer(*asked, status);
        } else {
          LookAt(context_->loop->now());
        }
        changes_.End(asked->reading);
      });
}

void Parking::Answer(const Asked& asked, const absl::Status& status) {
  const MonoTime now = context_->loop->now();
  if (!status.ok() && !std::exchange(failed_, true)) {
    context_->logger->Log(
        Severity::kError, "qmgr",
        fmt::format("cannot look for parked mail, will try again: {}", status.ToString()));
  }
  if (!status.ok() || changes_.Forgotten(asked.reading)) {
    if (!asked.scan.everything) backlog_.ScanFailed();
    LookAt(status.ok() ? now : now + kPause);
    return;
  }
  failed_ = false;
  for (const auto& [id, damage] : asked.finds.damaged) {
    context_->logger->Log(Severity::kError, "qmgr",
                          fmt::format("{}: cannot be read, message stays in the queue: {}",
                                      id.ToString(), damage.ToString()));
  }
  if (asked.scan.everything) {
    TakeRediscovered(asked);
  } else {
    TakeFinds(asked);
  }
}

// The store is behind what is known of it: it has ended, or is to be held.
bool Parking::IsOver(const RecoveredJob& find) const {
  if (leaving_.contains(find.id.value)) return true;
  const OperatorWish* const wish = context_->wishes->Find(find.id);
  if (wish != nullptr && wish->kind == OperatorWish::Kind::kRemove) return true;
  const std::shared_ptr<QueuedMessage> message = memory_->Find(find.id);
  if (message == nullptr) return false;
  return !message->queued() || !Owes(*message, find.nexthop, *context_->settings);
}

bool Parking::IsTried(const RecoveredJob& find) const {
  const std::shared_ptr<QueuedMessage> message = memory_->Find(find.id);
  return message != nullptr && Tries(*message, find.nexthop, *context_->settings);
}

// Recipients of whom a job in flight knows nothing: it chose before they were routed here. One
// whose message is still being read has not chosen yet.
bool Parking::HasUnchosen(const RecoveredJob& find) const {
  const std::shared_ptr<QueuedMessage> message = memory_->Find(find.id);
  if (message == nullptr || !IsTried(find)) return false;
  const queue::Envelope& envelope = message->envelope();
  for (uint32_t i = 0; i < envelope.recipients.size(); ++i) {
    if (message->pending(i) && !message->taken(i) &&
        NexthopOf(envelope, i, *context_->settings) == find.nexthop) {
      return true;
    }
  }
  return false;
}

void Parking::TakeFinds(const Asked& asked) {
  const BacklogFinds& finds = asked.finds;
  const MonoTime now = context_->loop->now();
  std::vector<std::string> added;
  for (const RecoveredJob& find : finds.jobs) {
    if (changes_.Since(asked.reading, HashOf(find.id, find.nexthop)) || IsOver(find) ||
        InMemory(find.id, find.nexthop)) {
      continue;
    }
    if (RoomOf(find.nexthop).jobs == 0) {
      backlog_.Refused(find.nexthop, find.id);
      continue;
    }
    backlog_.Unpark(find.nexthop, AsOf(find));
    Add(find, nullptr, now);
    if (added.empty() || added.back() != find.nexthop) added.push_back(find.nexthop);
  }
  for (const auto& [nexthop, id] : finds.refused) backlog_.Refused(nexthop, id);
  for (const auto& [minutes, range] : finds.later) {
    backlog_.Postpone(range, now + absl::Minutes(minutes + 1));
  }
  const bool further = backlog_.Scanned(asked.scan.wishes, finds.next);
  LookAt(further || !added.empty() ? now : now + kPause);
  context_->rearm();  // Those at a rate.
  std::sort(added.begin(), added.end());
  added.erase(std::unique(added.begin(), added.end()), added.end());
  for (const std::string& nexthop : added) {
    if (queue::NexthopQueue* const queue = context_->scheduler->FindNexthop(nexthop)) pump_(queue);
  }
}

// The jobs of a message begin at `first`: others that it has in memory are from before the
// reload, and nobody is owed by them any more.
void Parking::RemoveRerouted(const std::vector<RecoveredJob>& finds, size_t first) {
  const QueueId id = finds[first].id;
  context_->scheduler->ForEachOf(id, [&](queue::Job* job) {
    if (job->state == queue::Job::State::kInFlight) return;
    for (size_t i = first; i < finds.size() && finds[i].id == id; ++i) {
      if (finds[i].nexthop == job->nexthop->name()) return;
    }
    context_->scheduler->Remove(job);
  });
}

void Parking::TakeRediscovered(const Asked& asked) {
  // Before the finds are placed: what of them is parked now is known for good.
  rediscover_from_ = asked.finds.next;
  const bool ended = !asked.finds.next || *asked.finds.next > asked.scan.wishes.to;
  if (ended) rediscover_from_.reset();
  const std::vector<RecoveredJob>& finds = asked.finds.jobs;
  for (size_t i = 0; i < finds.size(); ++i) {
    if (i == 0 || finds[i].id != finds[i - 1].id) RemoveRerouted(finds, i);
  }
  for (const RecoveredJob& find : finds) {
    if (changes_.Since(asked.reading, HashOf(find.id, find.nexthop)) || IsOver(find)) continue;
    bool covered = false;
    bool in_flight = false;
    context_->scheduler->ForEachOf(find.id, [&](queue::Job* job) {
      if (job->nexthop->name() != find.nexthop) return;
      const bool flies = job->state == queue::Job::State::kInFlight;
      (flies ? in_flight : covered) = true;
    });
    if (covered || (in_flight && !HasUnchosen(find))) continue;
    backlog_.Rediscovered(1);
    // Who is being tried may be over in a moment: such a job waits in memory.
    queue::Job* const job = in_flight || IsTried(find) ? Add(find, nullptr, context_->loop->now())
                                                       : Place(find, nullptr, Origin::kStore);
    if (job != nullptr) pump_(job->nexthop);
  }
  context_->rearm();  // Those that are deferred.
  if (ended) backlog_.RediscoveryEnded();
  LookAt(context_->loop->now());
}

}  // namespace mailrace::engine
