#include "tests/sim/world/sim_world.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "fmt/format.h"
#include "tests/sim/world/tls_policy.h"
#include "tests/sim/world/world_places.h"

namespace mailrace::sim {

namespace {

constexpr absl::Duration kTrouble = absl::Hours(4);  // How long things go wrong.
// An outcome is durable by then: our own time-out for the reply to the end of data, the
// latency, the disk.
constexpr absl::Duration kOutcomeLag = absl::Minutes(71);
// In peace, with all relays alive, every message ends by then: the longest back-off, the
// time-outs of a session that had just fallen silent, the longest back-off again.
constexpr absl::Duration kPeaceMost = absl::Hours(4);

// Short, so that a whole life fits into a moment.
engine::Settings WorldSettings() {
  engine::Settings settings = TestSettings();
  settings.retry.lifetime = kWorldLifetime;
  settings.retry.bounce_lifetime = kWorldLifetime;
  return settings;
}

}  // namespace

void WorldFacts::Add(const WorldFacts& other) {
  messages += other.messages;
  recipients += other.recipients;
  refused += other.refused;
  deliveries += other.deliveries;
  notices += other.notices;
  crashes += other.crashes;
  stops += other.stops;
  sync_failures += other.sync_failures;
  full_disks += other.full_disks;
  clock_jumps += other.clock_jumps;
  reloads += other.reloads;
  removed += other.removed;
  smuggled += other.smuggled;
  handshakes += other.handshakes;
  chunks += other.chunks;
  uncertain += other.uncertain;
  duplicates += other.duplicates;
  crash_bound += other.crash_bound;
  crash_owed += other.crash_owed;
  parkings += other.parkings;
  lost += other.lost;
}

SimWorld::SimWorld(WorldOptions options)
    : options_(options),
      random_(options.seed),
      settings_(std::make_shared<engine::Settings>(WorldSettings())),
      ledger_(&book_, settings_->retry),
      wall_(absl::FromUnixSeconds(1'800'000'000)) {
  ledger_.set_keeps_lines(options.keeps_log);
  DrawCharacter();
  ledger_.NobodyServes(DomainName(kWorldDomains));
  StartHost();
}

SimWorld::~SimWorld() {
  // A host that still runs stops in order, on a healthy disk.
  stopping_ = true;
  store_.FailCommits(0, absl::OkStatus());
  host_->Stop(absl::ZeroDuration());
}

absl::Duration SimWorld::UpTo(absl::Duration most) {
  return absl::Milliseconds(
      static_cast<int64_t>(random_.Below(static_cast<uint64_t>(most / absl::Milliseconds(1)) + 1)));
}

MonoTime SimWorld::now() const { return host_->clock().Mono(); }

void SimWorld::StartHost() {
  SimHost::Parts parts;
  parts.store = &store_;
  parts.random = &random_;
  parts.logger = &ledger_;
  parts.book = &book_;
  parts.settings = settings_;
  parts.start = wall_;
  parts.elapsed = elapsed_;
  parts.shards = shards_;
  parts.intake = by_smtp_;
  host_ = std::make_unique<SimHost>(parts);
  application_ = std::make_unique<SimApplication>(&host_->loop(), &host_->network(), &random_);
  watch_ = std::make_unique<Watch>(host_.get());
  stopping_ = false;
  small_jumps_ = absl::ZeroDuration();
  for (uint64_t i = 0; i < kWorldDomains; ++i) {
    host_->resolver().Add(DomainName(i), {DomainAddress(i).ip});
    if (!host_->relay().Listen(DomainAddress(i)).ok()) std::abort();
  }
  host_->resolver().Add("app.test", {RelayAddress().ip});
  host_->resolver().set_delay(absl::Milliseconds(20));
  host_->committer().OnCommitted([this](DiskModel::Group group) {
    TellTime();
    ledger_.Committed(group, &store_);
  });
  host_->committer().OnDoubtful([this](DiskModel::Group group) { ledger_.Doubtful(group); });
  if (with_tls_) host_->relay().set_tls(RelayTlsContext());
  if (with_chunking_) {
    host_->relay().set_keywords(
        {"PIPELINING", "CHUNKING", "8BITMIME", "SIZE", "DSN", "ENHANCEDSTATUSCODES", "SMTPUTF8"});
  }
  host_->relay().set_site_script(
      [this](const SocketAddress& site, RelayStep step, std::string_view argument) {
        return Misbehave(site, step, argument);
      });
  host_->OnStep([this] { Step(); });
  if (!peace_) {
    host_->network().set_faults(network_faults_);
    host_->committer().set_delay_max(commit_delay_);
    host_->reader().set_delay_max(absl::Milliseconds(50));
    host_->reader().set_failure_percent(read_failure_percent_);
    host_->resolver().set_failure_percent(name_failure_percent_);
  }
  ApplyDeaths();
  TamperAsMutated();
  TellTime();
  if (!host_->Recover().ok()) std::abort();
}

void SimWorld::TellTime() {
  const MonoTime now = host_->loop().now();
  const MonoTime upset = std::max(steady_since_, host_->committer().last_failure());
  ledger_.SetNow(now, host_->clock().Wall(), now - upset > absl::Minutes(1));
}

// Everything that must hold now, when all that happens at this time has happened.
void SimWorld::Step() {
  TellTime();
  if (!host_->crashed() && !stopping_ && !host_->fatal()) {
    watch_->Look(limits_, addresses_, &wrong_);
  }
}

// --- Ends --------------------------------------------------------------------------------

// The process is gone; the next one finds what the disk has, after a while, by a clock
// that somebody may have set meanwhile.
void SimWorld::EndHost() {
  const FlightList listed = host_->flights();
  CountParkings();
  const absl::Duration down = UpTo(absl::Minutes(2));
  elapsed_ = host_->clock().Mono() - MonoTime{1} + down;
  wall_ = host_->clock().Wall() + down;
  absl::Duration error = small_jumps_;
  if (Chance(15)) {
    ++facts_.clock_jumps;
    const absl::Duration jump = DrawJump(&random_, wall_);
    if (jump < absl::Hours(2)) error += absl::AbsDuration(jump);
    wall_ += jump;
  }
  ledger_.ClockError(error);
  host_.reset();
  store_.Crash();
  ledger_.SetNow(MonoTime{1} + elapsed_, wall_, false);
  steady_since_ = MonoTime{1} + elapsed_;
  facts_.crash_bound += listed.bound;
  ledger_.Crashed(&store_, listed, disk_was_full_ ? absl::InfiniteDuration() : kOutcomeLag);
  disk_was_full_ = false;
  StartHost();
}

void SimWorld::CountParkings() {
  for (int i = 0; i < shards_; ++i) facts_.parkings += host_->shard(i).parking().parkings();
}

void SimWorld::CrashHost() {
  ++facts_.crashes;
  ledger_.Tell("crash");
  host_->Crash();
  EndHost();
}

void SimWorld::StopHost() {
  ++facts_.stops;
  // A disk that takes everything, and soon, keeps every outcome: nothing is left in flight.
  const bool disk_is_well = Chance(70);
  ledger_.Tell(disk_is_well ? "stop" : "stop, on a disk that may be ill");
  if (disk_is_well) store_.FailCommits(0, absl::OkStatus());
  stopping_ = true;
  host_->Stop(Chance(50) ? absl::ZeroDuration() : UpTo(absl::Minutes(2)));
  if (disk_is_well && commit_delay_ < absl::Milliseconds(500)) {
    for (const auto& [id, recipients] : host_->flights().recipients) {
      wrong_.push_back(fmt::format("an orderly stop leaves {} recipients of {} in flight",
                                   recipients.size(), id.ToString()));
    }
  }
  EndHost();
}

// --- Peace -------------------------------------------------------------------------------

void SimWorld::MakePeace() {
  peace_ = true;
  ledger_.Tell("peace");
  steady_since_ = now();
  store_.FailCommits(0, absl::OkStatus());
  store_.set_free_octets(uint64_t{1} << 40);
  host_->network().set_faults({});
  for (const Site& site : sites_) {
    host_->network().SetRefused(site.address, false);
    host_->network().SetSilent(site.address, false);
  }
  ApplyDeaths();
  host_->committer().set_delay_max(absl::Milliseconds(1));
  host_->reader().set_failure_percent(0);
  host_->resolver().set_failure_percent(0);
  if (settings_->delivery_deferred) {
    auto changed = std::make_shared<engine::Settings>(*settings_);
    ++changed->generation;
    changed->delivery_deferred = false;
    settings_ = changed;
    for (int i = 0; i < shards_; ++i) host_->shard(i).Reload(settings_);
  }
}

// Held mail waits for somebody: release it, also what a disk error put on hold.
void SimWorld::ReleaseHeld() {
  for (const QueueId id : QueuedIds()) OperateOn(id, engine::Operation::Kind::kRelease);
}

bool SimWorld::RunUntilEmpty() {
  const auto empty = [this] {
    const queue::Scheduler::Counts counts = host_->counts();
    return !wrong_.empty() || ledger_.broken() ||
           (counts.ready + counts.deferred + counts.held + counts.in_flight == 0 &&
            host_->tasks().running() == 0 && ledger_.disk().messages().empty());
  };
  const bool all_alive = std::none_of(sites_.begin(), sites_.end(), [](const Site& site) {
    return site.nature == Nature::kDead || site.nature == Nature::kGreylisting ||
           site.nature == Nature::kCrowded || site.nature == Nature::kForgetful;
  });
  const absl::Duration most = all_alive ? kPeaceMost : 2 * kWorldLifetime + kPeaceMost;
  const MonoTime end = now() + most;
  while (now() < end) {
    ReleaseHeld();
    ApplyDeaths();
    if (host_->RunUntil(empty, absl::Hours(1))) return true;
  }
  return false;
}

// --- Life --------------------------------------------------------------------------------

void SimWorld::Live(int lives, int life) {
  BeginSubmissions(5 + random_.Below(25));
  // A quick death finds other things than a slow one.
  const absl::Duration length = Chance(50) ? UpTo(absl::Seconds(4)) : UpTo(kTrouble / lives);
  const int turns = 1 + static_cast<int>(random_.Below(12));
  for (int turn = 0; turn < turns && !host_->fatal(); ++turn) {
    host_->RunUntil([this] { return host_->fatal(); }, length / turns);
    if (!host_->fatal()) Disturb();
  }
  if (host_->fatal() || Chance(70)) {
    // An engine that cannot go on is restarted by its supervisor.
    if (host_->fatal() || life + 1 < lives) CrashHost();
  } else if (life + 1 < lives) {
    StopHost();
  }
}

void SimWorld::Conclude(bool ended) {
  if (host_->fatal()) wrong_.push_back("the engine gave up in peace");
  if (!ended) {
    const queue::Scheduler::Counts counts = host_->counts();
    const size_t stored = ledger_.disk().messages().size();
    wrong_.push_back(
        fmt::format("stuck: {} ready, {} deferred, {} held, {} in flight; {} messages, {} tasks{}",
                    counts.ready, counts.deferred, counts.held, counts.in_flight, stored,
                    host_->tasks().running(),
                    stored > 0 ? ": " + ledger_.disk().messages().begin()->first.ToString() : ""));
  }
  for (int i = 0; i < shards_ && ended; ++i) {
    const engine::ShardStats& stats = host_->shard(i).stats();
    if (stats.uncommitted_outcomes.value() != 0) wrong_.push_back("outcomes stay uncommitted");
    if (stats.memory_octets.value() != 0) wrong_.push_back("memory is not given back");
  }
  for (std::string& left : ledger_.AuditEmpty()) wrong_.push_back(std::move(left));
  if (book_.recipients_most > recipient_limit_most_) {
    wrong_.push_back(fmt::format("{} recipients in a transaction, {} are allowed",
                                 book_.recipients_most, recipient_limit_most_));
  }
}

std::vector<std::string> SimWorld::Run() {
  const auto lives = static_cast<int>(1 + random_.Below(4));
  bool well = true;
  for (int life = 0; life < lives && well; ++life) {
    Live(lives, life);
    well = ledger_.Audit().empty() && wrong_.empty();
  }
  if (well) {
    MakePeace();
    const bool ended = RunUntilEmpty();
    if (!ledger_.broken() && wrong_.empty()) {
      host_->RunFor(absl::Minutes(1));
      Conclude(ended);
    }
  }
  std::vector<std::string> wrong = ledger_.Audit();
  wrong.insert(wrong.end(), wrong_.begin(), wrong_.end());
  CountParkings();
  facts_.messages = ledger_.acknowledged();
  facts_.recipients = ledger_.recipients();
  facts_.refused = static_cast<size_t>(tags_) - facts_.messages;
  facts_.deliveries = book_.deliveries.size();
  facts_.notices = ledger_.notices();
  facts_.uncertain = ledger_.uncertain();
  facts_.crash_owed = ledger_.explained_at_crashes();
  facts_.lost = ledger_.lost();
  facts_.handshakes = book_.handshakes;
  facts_.chunks = book_.chunks;
  for (const auto& [to, times] : book_.delivered_to) {
    if (!to.starts_with("s.")) facts_.duplicates += times - 1;
  }
  return wrong;
}

}  // namespace mailrace::sim
