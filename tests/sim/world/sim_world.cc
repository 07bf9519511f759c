#include "tests/sim/world/sim_world.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace mailrace::sim {

namespace {

// Short, so that a whole life fits into a moment.
constexpr absl::Duration kLifetime = absl::Hours(30);
constexpr absl::Duration kTrouble = absl::Hours(4);  // How long things go wrong.
// An outcome is durable by then: our own time-out for the reply to the end of data, the
// latency, the disk.
constexpr absl::Duration kOutcomeLag = absl::Minutes(11);

constexpr int kDomains = 4;

std::string Domain(uint64_t i) { return fmt::format("d{}.test", i); }
IpAddress DomainAddress(uint64_t i) { return *IpAddress::Parse(fmt::format("192.0.2.{}", 10 + i)); }

}  // namespace

SimWorld::SimWorld(WorldOptions options)
    : options_(options), random_(options.seed), now_(absl::FromUnixSeconds(1'800'000'000)) {
  DrawCharacter();
  ledger_.NobodyServes(Domain(kDomains));
  StartHost();
}

SimWorld::~SimWorld() {
  // A host that still runs stops in order, on a healthy disk.
  store_.FailCommits(0, absl::OkStatus());
}

absl::Duration SimWorld::UpTo(absl::Duration most) {
  return absl::Milliseconds(
      static_cast<int64_t>(random_.Below(static_cast<uint64_t>(most / absl::Milliseconds(1)) + 1)));
}

// Every seed has weaknesses of its own: a world where everything fails a little finds less
// than worlds where one thing fails a lot.
void SimWorld::DrawCharacter() {
  settings_ = std::make_shared<engine::Settings>(TestSettings());
  if (Chance(50)) settings_->relayhost.clear();
  settings_->retry.lifetime = kLifetime;
  settings_->retry.bounce_lifetime = kLifetime;
  settings_->limits.initial_concurrency = 1 + static_cast<int>(random_.Below(5));
  settings_->limits.concurrency_limit = 1 + static_cast<int>(random_.Below(20));
  settings_->limits.recipient_limit = Chance(50) ? 50 : 1 + static_cast<int>(random_.Below(3));
  if (Chance(15)) settings_->limits.failed_cohort_limit = 0;
  if (Chance(15)) settings_->limits.rate_delay = absl::Seconds(1);
  if (Chance(30)) settings_->memory_octets_max = 2000;
  if (Chance(20))
    settings_->connection_reuse_count_limit = 1 + static_cast<uint32_t>(random_.Below(4));
  if (Chance(10)) settings_->connection_reuse = false;
  shards_ = 1 + static_cast<int>(random_.Below(3));
  if (Chance(80)) network_faults_.latency_max = UpTo(absl::Milliseconds(400));
  if (Chance(60)) network_faults_.segment_octets_max = 1 + random_.Below(60);
  if (Chance(60)) network_faults_.cut_percent = static_cast<int>(random_.Below(60));
  network_faults_.cut_octets_max = 200 + random_.Below(5000);
  network_faults_.silent_percent = static_cast<int>(random_.Below(40));
  if (Chance(30)) network_faults_.connect_refused_percent = static_cast<int>(random_.Below(70));
  if (Chance(20)) network_faults_.connect_lost_percent = static_cast<int>(random_.Below(40));
  if (Chance(80)) relay_fault_percent_ = static_cast<int>(random_.Below(30));
  if (Chance(30)) read_failure_percent_ = static_cast<int>(random_.Below(20));
  if (Chance(30)) name_failure_percent_ = static_cast<int>(random_.Below(50));
  commit_delay_ = Chance(20) ? absl::Seconds(2) : UpTo(absl::Milliseconds(10));
  store_.set_sync_is_ignored(options_.sync_is_ignored);
}

void SimWorld::StartHost() {
  SimHost::Parts parts;
  parts.store = &store_;
  parts.random = &random_;
  parts.logger = &ledger_;
  parts.book = &book_;
  parts.settings = settings_;
  parts.start = now_;
  parts.shards = shards_;
  host_ = std::make_unique<SimHost>(parts);
  for (uint64_t i = 0; i < kDomains; ++i) {
    host_->resolver().Add(Domain(i), {DomainAddress(i)});
    if (!host_->relay().Listen({DomainAddress(i), 25}).ok()) std::abort();
  }
  host_->resolver().Add("app.test", {RelayAddress().ip});
  host_->resolver().set_delay(absl::Milliseconds(20));
  host_->committer().OnCommitted(
      [this](std::span<const queue::WriteSet* const> group) { ledger_.Committed(group, &store_); });
  host_->relay().set_script(
      [this](RelayStep step, std::string_view argument) { return Misbehave(step, argument); });
  if (!peace_) {
    host_->network().set_faults(network_faults_);
    host_->committer().set_delay_max(commit_delay_);
    host_->reader().set_delay_max(absl::Milliseconds(50));
    host_->reader().set_failure_percent(read_failure_percent_);
    host_->resolver().set_failure_percent(name_failure_percent_);
  }
  const absl::Status recovered = host_->Recover(
      [this](const queue::RecoveredMessage& message) { ledger_.Found(message, &store_); });
  if (!recovered.ok()) std::abort();
}

// --- Applications --------------------------------------------------------------------

queue::Envelope SimWorld::MakeEnvelope(const std::string& tag) {
  queue::Envelope envelope;
  if (!Chance(10)) envelope.reverse_path = fmt::format("s.{}@app.test", tag);
  const uint8_t notify = Chance(10) ? queue::kNotifyNever : 0;
  const uint64_t recipients = Chance(60) ? 1 : 1 + random_.Below(7);
  for (uint64_t i = 0; i < recipients; ++i) {
    // One domain does not exist.
    const uint64_t domain = random_.Below(Chance(5) ? kDomains + 1 : kDomains);
    envelope.recipients.push_back({fmt::format("r{}.{}@{}", i, tag, Domain(domain)), "", notify});
  }
  envelope.priority = static_cast<uint8_t>(random_.Below(3));
  return envelope;
}

std::string SimWorld::MakeContent(const std::string& tag) {
  std::string content = fmt::format("Message-ID: <{}@app.test>\r\n\r\n", tag);
  const uint64_t lines = Chance(90) ? random_.Below(8) : random_.Below(400);
  for (uint64_t i = 0; i < lines; ++i) {
    content += Chance(20) ? "." : "";
    content += Chance(10) ? "\r\n" : fmt::format("line {} of {}\r\n", i, tag);
  }
  return content;
}

Task<void> SimWorld::Submit(SimHost* host, int shard, std::string tag, absl::Duration wait) {
  co_await SleepUntil(&host->loop(), host->loop().now() + wait);
  if (host->crashed()) co_return;
  engine::Acceptor* acceptor = &host->shard(shard);
  if (!acceptor->Admit(0).ok()) {
    ++facts_.refused_at_intake;
    co_return;
  }
  queue::Envelope envelope = MakeEnvelope(tag);
  const std::string content = MakeContent(tag);
  envelope.id = acceptor->NewId();
  envelope.arrival = host->clock().Wall();
  envelope.octets = content.size();
  Ledger::Message offered;
  offered.reverse_path = envelope.reverse_path;
  offered.never = envelope.recipients[0].notify == queue::kNotifyNever;
  offered.content = content;
  offered.arrival = envelope.arrival;
  for (const queue::Recipient& to : envelope.recipients) offered.recipients.push_back(to.address);
  ledger_.Offered(tag, std::move(offered));

  // Larger contents come in several records.
  std::string_view rest = content;
  while (rest.size() > 2000 || (rest.size() > 20 && envelope.chunks == 0 && Chance(20))) {
    auto chunk = std::make_shared<const std::string>(rest.substr(0, rest.size() / 2));
    rest.remove_prefix(chunk->size());
    const absl::Status put = co_await acceptor->PutChunk(envelope.id, envelope.chunks, chunk);
    if (!put.ok() || (!host->crashed() && Chance(5))) {
      // Refused, or the client hung up.
      acceptor->Abandon(envelope.id, envelope.chunks + 1);
      ++facts_.refused_at_intake;
      co_return;
    }
    ++envelope.chunks;
  }
  ++envelope.chunks;
  auto last = std::make_shared<const std::string>(rest);
  const absl::Status status = co_await acceptor->Accept(std::move(envelope), std::move(last));
  // A host that crashed tells nobody anything.
  if (host->crashed()) co_return;
  if (status.ok()) {
    ledger_.Acknowledged(tag);
  } else {
    ++facts_.refused_at_intake;
  }
}

void SimWorld::BeginSubmissions(size_t messages) {
  for (size_t i = 0; i < messages; ++i) {
    const auto shard = static_cast<int>(random_.Below(static_cast<uint64_t>(shards_)));
    host_->tasks().Spawn(Submit(host_.get(), shard, fmt::format("m{}", ++tags_),
                                Chance(50) ? UpTo(absl::Seconds(2)) : UpTo(absl::Minutes(30))));
  }
}

// --- Relays ----------------------------------------------------------------------------

std::optional<RelayAct> SimWorld::Misbehave(RelayStep step, std::string_view argument) {
  if (peace_ || !Chance(relay_fault_percent_)) return std::nullopt;
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
      act.text = "451 4.7.1 greylisted";
      act.accept = false;
      break;
    default:
      act.text = "550 5.1.1 no";
      act.accept = false;
  }
  return act;
}

// --- Life ------------------------------------------------------------------------------

// One thing that happens to a host now and then.
void SimWorld::Disturb() {
  switch (random_.Below(12)) {
    case 0:
      ++facts_.full_disks;
      disk_was_full_ = true;
      store_.FailCommits(1 + static_cast<int>(random_.Below(8)),
                         absl::ResourceExhaustedError("No space left on device"));
      break;
    case 1:
      store_.set_free_octets(Chance(50) ? 0 : uint64_t{1} << 40);
      break;
    case 2:
      ++facts_.sync_failures;
      store_.FailCommits(1, absl::DataLossError("fdatasync: Input/output error"), Chance(50));
      break;
    case 3:
      for (int i = 0; i < shards_; ++i) host_->shard(i).Flush();
      break;
    case 4:
      for (uint64_t i = 0; i < kDomains; ++i) {
        host_->network().SetRefused({DomainAddress(i), 25}, Chance(50));
      }
      host_->network().SetRefused(RelayAddress(), Chance(50));
      break;
    case 5:
      host_->relay().CloseSessions();
      break;
    case 6:
      host_->clock().JumpWall(UpTo(absl::Hours(2)) - absl::Hours(1));
      break;
    case 7: {
      auto changed = std::make_shared<engine::Settings>(*settings_);
      ++changed->generation;
      if (Chance(30)) changed->relayhost = changed->relayhost.empty() ? "[relay.test]:25" : "";
      settings_ = changed;
      for (int i = 0; i < shards_; ++i) host_->shard(i).Reload(settings_);
      break;
    }
    case 8: {
      std::vector<std::pair<int, QueueId>> ids;
      for (int i = 0; i < shards_; ++i) {
        host_->shard(i).scheduler().ForEach(
            [&ids, i](const queue::Job& job) { ids.emplace_back(i, job.id); });
      }
      std::sort(ids.begin(), ids.end());
      for (const auto& [shard, id] : ids) {
        if (Chance(20)) host_->shard(shard).Hold(id);
        if (Chance(30)) host_->shard(shard).Unhold(id);
      }
      break;
    }
    default:
      break;
  }
}

std::vector<queue::RecoveredMessage> SimWorld::OnDisk() {
  std::vector<queue::RecoveredMessage> found;
  const absl::Status status = store_.Recover(
      [&found](queue::RecoveredMessage message) { found.push_back(std::move(message)); });
  if (!status.ok()) std::abort();
  return found;
}

void SimWorld::CrashHost() {
  ++facts_.crashes;
  host_->Crash();
  // As long as it took to come back.
  now_ = host_->clock().Wall() + UpTo(absl::Minutes(2));
  host_.reset();
  store_.Crash();
  const std::vector<queue::RecoveredMessage> found = OnDisk();
  for (const queue::RecoveredMessage& message : found) ledger_.Found(message, &store_);
  ledger_.Crashed(found, book_, now_,
                  disk_was_full_ ? absl::InfiniteDuration() : kOutcomeLag + absl::Hours(1));
  disk_was_full_ = false;
  StartHost();
}

void SimWorld::MakePeace() {
  peace_ = true;
  store_.FailCommits(0, absl::OkStatus());
  store_.set_free_octets(uint64_t{1} << 40);
  host_->network().set_faults({});
  for (uint64_t i = 0; i < kDomains; ++i) {
    host_->network().SetRefused({DomainAddress(i), 25}, false);
  }
  host_->network().SetRefused(RelayAddress(), false);
  host_->committer().set_delay_max(absl::Milliseconds(1));
  host_->reader().set_failure_percent(0);
  host_->resolver().set_failure_percent(0);
}

bool SimWorld::RunUntilEmpty() {
  // Held mail waits for somebody: release it, also what a disk error put on hold.
  const auto empty = [this] {
    const queue::Scheduler::Counts counts = host_->counts();
    return counts.ready + counts.deferred + counts.held + counts.in_flight == 0 &&
           host_->tasks().running() == 0;
  };
  for (int hours = 0; hours < 2 * absl::ToInt64Hours(kLifetime); ++hours) {
    std::vector<std::pair<int, QueueId>> held;
    for (int i = 0; i < shards_; ++i) {
      host_->shard(i).scheduler().ForEach([&held, i](const queue::Job& job) {
        if (job.state == queue::Job::State::kHeld) held.emplace_back(i, job.id);
      });
    }
    std::sort(held.begin(), held.end());
    for (const auto& [shard, id] : held) host_->shard(shard).Unhold(id);
    if (host_->RunUntil(empty, absl::Hours(1))) return true;
  }
  return false;
}

std::vector<std::string> SimWorld::Run() {
  std::vector<std::string> wrong;
  const auto lives = static_cast<int>(options_.crashes ? 1 + random_.Below(4) : 1);
  for (int life = 0; life < lives; ++life) {
    BeginSubmissions(5 + random_.Below(25));
    // A quick death finds other things than a slow one.
    const absl::Duration length =
        Chance(50) ? UpTo(absl::Seconds(4)) : UpTo(kTrouble / static_cast<int>(lives));
    const int turns = 1 + static_cast<int>(random_.Below(12));
    for (int turn = 0; turn < turns && !host_->fatal(); ++turn) {
      host_->RunUntil([this] { return host_->fatal(); }, length / turns);
      if (!host_->fatal()) Disturb();
    }
    // An engine that cannot go on is restarted by its supervisor.
    if (life + 1 < lives || host_->fatal()) {
      CrashHost();
      wrong = ledger_.Audit(OnDisk(), book_, now_, kLifetime);
      if (!wrong.empty()) return wrong;
    }
  }
  MakePeace();
  const bool ended = RunUntilEmpty();
  host_->RunFor(absl::Minutes(1));
  if (host_->fatal()) wrong.push_back("the engine gave up in peace");
  const std::vector<queue::RecoveredMessage> left = OnDisk();
  if (!ended) {
    const queue::Scheduler::Counts counts = host_->counts();
    wrong.push_back(fmt::format("stuck: {} ready, {} deferred, {} held, {} in flight", counts.ready,
                                counts.deferred, counts.held, counts.in_flight));
  }
  for (const queue::RecoveredMessage& message : left) {
    wrong.push_back("stays on the disk: " + message.envelope.id.ToString());
  }
  for (int i = 0; i < shards_ && ended; ++i) {
    const engine::ShardStats& stats = host_->shard(i).stats();
    if (stats.uncommitted_outcomes.value() != 0) wrong.push_back("outcomes stay uncommitted");
    if (stats.memory_octets.value() != 0) wrong.push_back("memory is not given back");
  }
  for (std::string& more : ledger_.Audit(left, book_, host_->clock().Wall(), kLifetime)) {
    wrong.push_back(std::move(more));
  }
  facts_.acknowledged = ledger_.acknowledged();
  facts_.delivered = book_.deliveries.size();
  facts_.notices = ledger_.notices();
  facts_.uncertain = ledger_.uncertain();
  return wrong;
}

}  // namespace mailrace::sim
