#include "tests/sim/world/sim_host.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "engine/recovered_job.h"

namespace mailrace::sim {

namespace {

Task<void> AcceptOne(engine::Shard* shard, queue::Envelope envelope, queue::Octets content,
                     absl::Status* result) {
  *result =
      co_await shard->Accept(std::move(envelope), std::move(content), shard->context().loop->now());
}

SimClock ClockAt(absl::Time wall, absl::Duration elapsed) {
  SimClock clock(wall - elapsed);
  clock.Advance(elapsed);
  return clock;
}

Task<void> StopAll(std::vector<engine::Shard*> shards, SimIntake* intake, SimRelay* relay,
                   Loop* loop, absl::Duration grace) {
  if (intake != nullptr) co_await intake->Stop(absl::ZeroDuration());
  for (engine::Shard* shard : shards) {
    co_await shard->Join(loop->now() + grace);
  }
  co_await relay->Stop();
}

}  // namespace

engine::Settings TestSettings() {
  engine::Settings settings;
  settings.myhostname = "mailrace.test";
  settings.helo_name = "mailrace.test";
  settings.relayhost = "[relay.test]:25";
  settings.policy = std::make_shared<PlainPolicy>();
  return settings;
}

SocketAddress RelayAddress() { return {*IpAddress::Parse("192.0.2.1"), 25}; }

SimHost::SimHost(Parts parts)
    : parts_(std::move(parts)),
      clock_(ClockAt(parts_.start, parts_.elapsed)),
      loop_(&clock_),
      network_(&loop_, parts_.random),
      committer_(&loop_, parts_.random, parts_.store),
      reader_(&loop_, parts_.random, parts_.store),
      resolver_(&loop_, parts_.random),
      relay_(&loop_, &network_, parts_.book),
      tasks_(&loop_) {
  resolver_.Add("relay.test", {RelayAddress().ip});
  if (!relay_.Listen(RelayAddress()).ok()) std::abort();
  flight_regions_.resize(static_cast<size_t>(parts_.shards));
  for (int i = 0; i < parts_.shards; ++i) {
    std::string& region = flight_regions_[static_cast<size_t>(i)];
    region.resize(engine::FlightJournal::kOctets);
    journals_.push_back(std::make_unique<engine::FlightJournal>(region, engine::BootId{}));
    engine::ShardContext context;
    context.flights = journals_.back().get();
    context.shard = i;
    context.shards = parts_.shards;
    context.loop = &loop_;
    context.network = &network_;
    context.resolver = &resolver_;
    context.committer = &committer_;
    context.commit_sink = &sink_;
    context.reader = &reader_;
    context.logger = parts_.logger;
    context.random = parts_.random;
    context.credential_pauses = &pauses_;
    context.fatal = [this](const absl::Status&) { fatal_ = true; };
    context.free_octets = [this] { return parts_.store->stats().free_octets; };
    context.settings = parts_.settings;
    shards_.push_back(
        std::make_unique<engine::Shard>(std::move(context), parts_.store->highest_id()));
  }
  if (!parts_.intake) return;
  std::vector<engine::Shard*> shards;
  for (const auto& shard : shards_) shards.push_back(shard.get());
  intake_ = std::make_unique<SimIntake>(
      &loop_, &network_, parts_.logger,
      std::shared_ptr<const engine::IntakeOptions>(parts_.settings, &parts_.settings->intake),
      std::move(shards));
}

SimHost::~SimHost() {
  if (!crashed_ && !stopped_) Stop(absl::ZeroDuration());
}

void SimHost::Stop(absl::Duration grace) {
  stopped_ = true;
  for (const auto& shard : shards_) shard->Drain();
  const auto quiet = [this] {
    return counts().in_flight == 0 && (intake_ == nullptr || intake_->sessions() == 0);
  };
  if (grace > absl::ZeroDuration()) RunUntil(quiet, grace);
  for (const auto& shard : shards_) shard->Cancel();
  End();
}

void SimHost::End() {
  std::vector<engine::Shard*> shards;
  for (const auto& shard : shards_) shards.push_back(shard.get());
  Run(StopAll(std::move(shards), intake_.get(), &relay_, &loop_, absl::Minutes(5)));
  const bool ended = RunUntil([this] { return tasks_.running() == 0; }, absl::Hours(2));
  if (ended) return;
  std::fprintf(stderr, "sim: the host's own tasks do not end\n");
  std::abort();
}

absl::Status SimHost::Recover(const std::function<void(const queue::RecoveredMessage&)>& found) {
  const absl::Status status = parts_.store->Recover([&](queue::RecoveredMessage message) {
    if (found != nullptr) found(message);
    std::vector<engine::RecoveredJob> jobs;
    engine::AppendJobs(message, *parts_.settings, &jobs);
    const int shard = engine::QueueIdSource::ShardOf(message.envelope.id, parts_.shards);
    for (const engine::RecoveredJob& job : jobs) {
      shards_[static_cast<size_t>(shard)]->Recover(job);
    }
  });
  for (const auto& shard : shards_) shard->RecoveryEnded();
  return status;
}

void SimHost::RunReady() { loop_.RunAllReady(); }

bool SimHost::RunUntil(const std::function<bool()>& done, absl::Duration limit) {
  const MonoTime end = clock_.Mono() + limit;
  RunReady();
  while (!done()) {
    const MonoTime wake = loop_.NextWake();
    if (wake > end) {
      clock_.AdvanceTo(end);
      RunReady();
      return done();
    }
    clock_.AdvanceTo(wake);
    RunReady();
    if (on_step_ != nullptr) on_step_();
  }
  return true;
}

void SimHost::RunFor(absl::Duration time) {
  RunUntil([] { return false; }, time);
}

void SimHost::Run(Task<void> task) {
  TaskScope scope(&loop_);
  scope.Spawn(std::move(task));
  if (RunUntil([&scope] { return scope.running() == 0; }, absl::Hours(24 * 30))) return;
  std::fprintf(stderr, "sim: a task does not end\n");
  std::abort();
}

void SimHost::Crash() {
  committer_.Crash();
  flights_at_crash_ = flights();
  crashed_ = true;
  reader_.Crash();
  resolver_.Crash();
  for (const auto& shard : shards_) shard->Drain();
  network_.CutAll();
  for (const auto& shard : shards_) shard->Cancel();
  End();
}

absl::StatusOr<QueueId> SimHost::Submit(queue::Envelope envelope, std::string content, int shard) {
  engine::Shard& to = *shards_[static_cast<size_t>(shard)];
  envelope.id = to.NewId();
  envelope.arrival = clock_.Wall();
  envelope.octets = content.size();
  envelope.chunks = 1;
  const QueueId id = envelope.id;
  TaskScope scope(&loop_);
  absl::Status status;
  scope.Spawn(AcceptOne(&to, std::move(envelope),
                        std::make_shared<const std::string>(std::move(content)), &status));
  RunUntil([&scope] { return scope.running() == 0; }, absl::Minutes(1));
  if (!status.ok()) return status;
  return id;
}

FlightList SimHost::flights() const {
  if (crashed_) return flights_at_crash_;
  FlightList list;
  for (const std::string& region : flight_regions_) {
    const absl::StatusOr<engine::FlightRecord> record = engine::ReadFlights(region);
    if (!record.ok()) std::abort();
    for (const engine::FlightRecord::Flight& flight : record->flights) {
      list.recipients[flight.id].insert(flight.recipients.begin(), flight.recipients.end());
      if (flight.more > 0) list.incomplete.insert(flight.id);
      list.bound += flight.recipients.size() + flight.more;
    }
    list.bound += record->unnamed_recipients;
  }
  return list;
}

queue::Scheduler::Counts SimHost::counts() {
  queue::Scheduler::Counts sum;
  for (const auto& shard : shards_) {
    const queue::Scheduler::Counts counts = shard->counts();
    sum.ready += counts.ready;
    sum.deferred += counts.deferred;
    sum.held += counts.held;
    sum.in_flight += counts.in_flight;
  }
  return sum;
}

}  // namespace mailrace::sim
