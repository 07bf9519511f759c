// What goes wrong in the simulated world: characters, relays, disks, clocks, operators.
#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "queue/record_format.h"
#include "tests/sim/world/mutations.h"
#include "tests/sim/world/sim_world.h"
#include "tests/sim/world/tls_policy.h"
#include "tests/sim/world/world_places.h"

namespace mailrace::sim {

namespace {

constexpr absl::Duration kTenYears = absl::Hours(24 * 3652);

std::string_view NameOf(engine::Operation::Kind kind) {
  using Kind = engine::Operation::Kind;
  switch (kind) {
    case Kind::kHold:
      return "hold";
    case Kind::kRelease:
      return "release";
    case Kind::kFlush:
      return "flush";
    case Kind::kRemove:
      return "remove";
    case Kind::kBounce:
      break;
  }
  return "bounce";
}

}  // namespace

absl::Duration DrawJump(Random* random, absl::Time wall) {
  const bool forward = random->Below(2) == 0;
  if (random->Below(2) == 0) return forward ? absl::Hours(1) : -absl::Hours(1);
  // The middle of the century is where a clock may go to either side.
  if (wall > absl::FromUnixSeconds(2'200'000'000)) return -kTenYears;
  if (wall < absl::FromUnixSeconds(1'200'000'000)) return kTenYears;
  return forward ? kTenYears : -kTenYears;
}

// Every seed has weaknesses of its own: a world where everything fails a little finds less
// than worlds where one thing fails a lot.
void SimWorld::DrawCharacter() {
  if (Chance(50)) settings_->relayhost.clear();
  settings_->limits.initial_concurrency = 1 + static_cast<int>(random_.Below(5));
  settings_->limits.concurrency_limit = 1 + static_cast<int>(random_.Below(20));
  settings_->limits.recipient_limit = Chance(50) ? 50 : 1 + static_cast<int>(random_.Below(3));
  if (Chance(15)) settings_->limits.failed_cohort_limit = 0;
  if (Chance(15)) settings_->limits.rate_delay = absl::Seconds(1);
  settings_->memory_octets_max = Chance(30) ? 2'000 : 2'000'000;
  // Of most mail then nothing is in memory.
  if (Chance(40)) settings_->jobs_max = 1 + random_.Below(10);
  if (Chance(20))
    settings_->connection_reuse_count_limit = 1 + static_cast<uint32_t>(random_.Below(4));
  if (Chance(10)) settings_->connection_reuse = false;
  shards_ = 1 + static_cast<int>(random_.Below(3));
  by_smtp_ = Chance(50);
  if (Chance(80)) network_faults_.latency_max = UpTo(absl::Milliseconds(400));
  if (Chance(60)) network_faults_.segment_octets_max = 1 + random_.Below(60);
  if (Chance(60)) network_faults_.cut_percent = static_cast<int>(random_.Below(60));
  network_faults_.cut_octets_max = 200 + random_.Below(5000);
  network_faults_.silent_percent = static_cast<int>(random_.Below(40));
  if (Chance(30)) network_faults_.connect_refused_percent = static_cast<int>(random_.Below(70));
  if (Chance(20)) network_faults_.connect_lost_percent = static_cast<int>(random_.Below(40));
  if (Chance(80)) relay_fault_percent_ = static_cast<int>(random_.Below(30));
  if (Chance(5)) {
    with_tls_ = true;
    settings_->policy = std::make_shared<EncryptPolicy>();
    // Nothing may depend on the length of records, which no seed decides.
    network_faults_.segment_octets_max = 0;
    network_faults_.cut_writes_max = 12;
  }
  if (Chance(30)) read_failure_percent_ = static_cast<int>(random_.Below(20));
  if (Chance(30)) name_failure_percent_ = static_cast<int>(random_.Below(50));
  commit_delay_ = Chance(20) ? absl::Seconds(2) : UpTo(absl::Milliseconds(10));
  store_.set_sync_is_ignored(options_.mutation == Mutation::kSyncIgnored);
  recipient_limit_most_ = static_cast<size_t>(settings_->limits.recipient_limit);
  // A relay may serve two nexthops: its own name and the domain of the notices.
  limits_.sessions_most = 2 * static_cast<size_t>(shards_ * settings_->limits.concurrency_limit);
  limits_.memory_octets_most = settings_->memory_octets_max;
  limits_.message_octets_most = 100'000;
  if (Chance(50)) with_chunking_ = true;
  // Few sessions have many messages each, which is what a stream is for.
  if (with_chunking_ && Chance(60)) {
    settings_->limits.concurrency_limit = 1 + static_cast<int>(random_.Below(2));
    limits_.sessions_most = 2 * static_cast<size_t>(shards_ * settings_->limits.concurrency_limit);
  }
  if (Chance(30)) settings_->tolerance.window_max = 1 + random_.Below(40);
  DrawNatures();
}

void SimWorld::DrawNatures() {
  for (uint64_t i = 0; i <= kWorldDomains; ++i) {
    Site site;
    site.address = i < kWorldDomains ? DomainAddress(i) : RelayAddress();
    if (Chance(35)) {
      static constexpr Nature kNatures[] = {Nature::kGreylisting, Nature::kForgetful, Nature::kSlow,
                                            Nature::kCrowded, Nature::kDead};
      site.nature = kNatures[random_.Below(std::size(kNatures))];
    }
    if (site.nature == Nature::kDead) {
      // For minutes, for days, or for ever; the relay of the notices comes back.
      const bool returns = i == kWorldDomains || Chance(60);
      site.dead_until = returns ? MonoTime{1} + UpTo(Chance(50) ? absl::Hours(1) : absl::Hours(16))
                                : MonoTime::Infinite();
      site.silent = Chance(30);
    }
    addresses_.push_back(site.address);
    sites_.push_back(site);
  }
}

void SimWorld::ApplyDeaths() {
  for (const Site& site : sites_) {
    if (site.nature != Nature::kDead) continue;
    const bool dead = now() < site.dead_until;
    host_->network().SetRefused(site.address, dead && !site.silent);
    host_->network().SetSilent(site.address, dead && site.silent);
  }
}

// --- Relays ----------------------------------------------------------------------------

std::optional<RelayAct> SimWorld::ByNature(const Site& site, RelayStep step,
                                           std::string_view argument) {
  RelayAct act;
  switch (site.nature) {
    case Nature::kGreylisting: {
      if (step != RelayStep::kRcpt) return std::nullopt;
      const MonoTime first = greylist_.emplace(std::string(argument), now()).first->second;
      if (now() - first >= absl::Minutes(10)) return std::nullopt;
      act.text = "450 4.2.0 greylisted";
      return act;
    }
    case Nature::kForgetful:
      if (step != RelayStep::kEndOfData || !Chance(30)) return std::nullopt;
      act.kind = RelayAct::Kind::kDrop;
      act.accept = true;
      return act;
    case Nature::kSlow:
      act.kind = RelayAct::Kind::kUsual;
      act.delay = UpTo(absl::Seconds(20));
      return act;
    case Nature::kCrowded:
      if (step != RelayStep::kRcpt || !Chance(50)) return std::nullopt;
      act.text = "452 4.5.3 too many recipients";
      return act;
    case Nature::kUsual:
    case Nature::kDead:
      break;
  }
  return std::nullopt;
}

std::optional<RelayAct> SimWorld::Misbehave(const SocketAddress& address, RelayStep step,
                                            std::string_view argument) {
  if (peace_ || !Chance(relay_fault_percent_)) {
    for (const Site& site : sites_) {
      if (site.address == address) return ByNature(site, step, argument);
    }
    return std::nullopt;
  }
  RelayAct act;
  // At the end of data it may have taken the message, whatever comes of its reply.
  act.accept = step == RelayStep::kEndOfData && Chance(50);
  // A refusal of "<>" names nobody: the oracle could not tell who was refused.
  const bool may_refuse = step != RelayStep::kMail || argument.find("<>") == std::string_view::npos;
  switch (random_.Below(may_refuse ? 8 : 7)) {
    case 0:
      act.kind = RelayAct::Kind::kDrop;
      break;
    case 1:
      act.kind = RelayAct::Kind::kSilence;
      break;
    case 2:
      act.text = "%%% core dumped";
      if (options_.mutation == Mutation::kSuccessOnGarbage && step == RelayStep::kEndOfData) {
        act.text = "250 2.0.0 ok";
        act.accept = false;
      }
      break;
    case 3:
      act.text = Chance(50) ? "250" : "250 2.0.0 ok\r\n250 2.0.0 and once more";
      // To the client a 250 is the truth, here as anywhere.
      if (step == RelayStep::kEndOfData) act.accept = true;
      break;
    case 4:
      act.kind = RelayAct::Kind::kReplyAndHang;
      act.text = "421 4.3.2 going down";
      act.accept = false;
      break;
    case 5:
    case 6:
      act.text = "451 4.7.1 later";
      act.accept = false;
      break;
    default:
      act.text = "550 5.1.1 no";
      act.accept = false;
  }
  return act;
}

// --- Hosts -----------------------------------------------------------------------------

void SimWorld::DisturbDisk() {
  steady_since_ = now();
  switch (random_.Below(3)) {
    case 0:
      ++facts_.full_disks;
      disk_was_full_ = true;
      store_.FailCommits(1 + static_cast<int>(random_.Below(8)),
                         absl::ResourceExhaustedError("No space left on device"));
      ledger_.Tell("the disk is full for some commits");
      break;
    case 1:
      store_.set_free_octets(Chance(50) ? 0 : uint64_t{1} << 40);
      ledger_.Tell(fmt::format("{} octets are free", store_.stats().free_octets));
      break;
    default:
      ++facts_.sync_failures;
      store_.FailCommits(1, absl::DataLossError("fdatasync: Input/output error"), Chance(50));
      ledger_.Tell("a sync will fail");
  }
}

void SimWorld::JumpClock() {
  ++facts_.clock_jumps;
  const absl::Duration jump = DrawJump(&random_, host_->clock().Wall());
  ledger_.Tell("the clock jumps by " + absl::FormatDuration(jump));
  if (absl::AbsDuration(jump) < absl::Hours(2)) small_jumps_ += absl::AbsDuration(jump);
  host_->clock().JumpWall(jump);
  steady_since_ = now();
}

void SimWorld::Reload() {
  ++facts_.reloads;
  auto changed = std::make_shared<engine::Settings>(*settings_);
  ++changed->generation;
  if (Chance(30)) changed->relayhost = changed->relayhost.empty() ? "[relay.test]:25" : "";
  if (Chance(30)) changed->delivery_deferred = !changed->delivery_deferred;
  if (Chance(30)) changed->limits.recipient_limit = 1 + static_cast<int>(random_.Below(50));
  if (Chance(30)) changed->limits.concurrency_limit = 1 + static_cast<int>(random_.Below(20));
  if (Chance(30)) changed->memory_octets_max = Chance(50) ? 2'000 : 200'000;
  if (Chance(30)) changed->connection_reuse = !changed->connection_reuse;
  settings_ = changed;
  ledger_.Tell(fmt::format("reload: relayhost={}{}, {} octets of memory", changed->relayhost,
                           changed->delivery_deferred ? ", deferred" : "",
                           changed->memory_octets_max));
  recipient_limit_most_ =
      std::max(recipient_limit_most_, static_cast<size_t>(changed->limits.recipient_limit));
  // Sessions and messages from before the reload may live on.
  limits_.sessions_most = std::max(
      limits_.sessions_most, 2 * static_cast<size_t>(shards_ * changed->limits.concurrency_limit));
  limits_.memory_octets_most = std::max(limits_.memory_octets_most, changed->memory_octets_max);
  for (int i = 0; i < shards_; ++i) host_->shard(i).Reload(settings_);
}

// In memory or, parked, on the disk alone.
std::vector<QueueId> SimWorld::QueuedIds() {
  std::vector<QueueId> ids;
  for (int i = 0; i < shards_; ++i) {
    host_->shard(i).scheduler().ForEach([&ids](const queue::Job& job) { ids.push_back(job.id); });
  }
  const auto stored = [&ids](QueueId id, const absl::StatusOr<queue::RecoveredMessage>&) {
    ids.push_back(id);
  };
  if (!store_.Scan(QueueId{0}, SIZE_MAX, stored).ok()) std::abort();
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

void SimWorld::OperateOn(QueueId id, engine::Operation::Kind kind) {
  if (!peace_) ledger_.Tell(fmt::format("{}: {}", id.ToString(), NameOf(kind)));
  for (int i = 0; i < shards_; ++i) {
    const auto answer = [this, id, kind](engine::OperationResult result) {
      // In delivery it goes when its attempt ends, unless that delivers it.
      const bool begun = result == engine::OperationResult::kDone ||
                         result == engine::OperationResult::kAfterAttempt;
      if (!begun || kind != engine::Operation::Kind::kRemove) return;
      ++facts_.removed;
      ledger_.Removed(id);
    };
    host_->shard(i).operations().Operate(id, {kind, ""}, answer, nullptr);
  }
}

// What operators do to mail, and to what they should better have left alone.
void SimWorld::Operate() {
  const uint64_t wish = random_.Below(3);
  if (wish == 2) {
    ledger_.Tell("flush");
    for (int i = 0; i < shards_; ++i) host_->shard(i).Flush();
    return;
  }
  for (const QueueId id : QueuedIds()) {
    if (wish == 0) {
      if (Chance(20)) OperateOn(id, engine::Operation::Kind::kHold);
      if (Chance(30)) OperateOn(id, engine::Operation::Kind::kRelease);
      if (Chance(10)) OperateOn(id, engine::Operation::Kind::kFlush);
    } else if (Chance(5)) {
      OperateOn(id, engine::Operation::Kind::kRemove);
    }
  }
}

// One thing that happens to a host now and then.
void SimWorld::Disturb() {
  switch (random_.Below(12)) {
    case 0:
    case 1:
      DisturbDisk();
      break;
    case 2:
      ledger_.Tell("flush");
      for (int i = 0; i < shards_; ++i) host_->shard(i).Flush();
      break;
    case 3:
      for (const Site& site : sites_) {
        const uint64_t how = random_.Below(4);
        host_->network().SetRefused(site.address, how == 0);
        host_->network().SetSilent(site.address, how == 1);
      }
      ApplyDeaths();
      break;
    case 4:
      host_->relay().CloseSessions();
      break;
    case 5:
      JumpClock();
      break;
    case 6:
      Reload();
      break;
    case 7:
    case 8:
      Operate();
      break;
    default:
      break;
  }
  if (options_.mutation == Mutation::kRemovedBeforeAccepted) {
    RemoveOneInFlight(host_.get(), ledger_.disk());
  }
}

void SimWorld::TamperAsMutated() {
  switch (options_.mutation) {
    case Mutation::kOutcomesForgotten:
      host_->committer().set_tamper(WithoutOutcomes);
      break;
    case Mutation::kNoticeLost:
      host_->committer().set_tamper(WithoutNotices);
      break;
    case Mutation::kJobStuck:
      host_->reader().set_forgets_one_in(4);
      break;
    case Mutation::kNone:
    case Mutation::kSyncIgnored:
    case Mutation::kRemovedBeforeAccepted:
    case Mutation::kSuccessOnGarbage:
      break;
  }
}

}  // namespace mailrace::sim
