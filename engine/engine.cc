#include "engine/engine.h"

#include <unistd.h>

#include <cstdio>
#include <future>
#include <utility>

#include "engine/front_door.h"
#include "engine/memory_budget.h"
#include "engine/recovered_job.h"
#include "fmt/format.h"
#include "queue/rocksdb_store.h"
#include "transport/tls/context.h"
#include "transport/uring/probe.h"

namespace mailrace::engine {

namespace {

// As many accounts' tokens may be slow at a time before another's is late by it.
constexpr int kTokenThreads = 8;

// Whether the process is to stop is looked at once in so many messages found at start.
constexpr uint64_t kMessagesBetweenLooks = 1024;

class RecoveryBatches {
 public:
  explicit RecoveryBatches(const std::vector<std::unique_ptr<ShardThread>>* shards)
      : shards_(shards), lines_(shards->size()) {}

  void Add(const queue::RecoveredMessage& message, const Settings& settings) {
    const auto shards = static_cast<int>(shards_->size());
    const auto shard = static_cast<size_t>(QueueIdSource::ShardOf(message.envelope.id, shards));
    AppendJobs(message, settings, &lines_[shard].jobs);
    if (lines_[shard].jobs.size() >= kBatchJobs) Send(shard);
  }
  // What is left; returns when the shards have taken everything.
  void Finish() {
    for (size_t shard = 0; shard < lines_.size(); ++shard) Send(shard);
    for (Line& line : lines_) line.taken.wait();
  }

 private:
  static constexpr size_t kBatchJobs = 4096;
  struct Line {
    std::vector<RecoveredJob> jobs;
    std::future<void> taken;  // The batch before.
  };

  void Send(size_t shard) {
    Line& line = lines_[shard];
    if (line.taken.valid()) line.taken.wait();
    auto taken = std::make_shared<std::promise<void>>();
    line.taken = taken->get_future();
    auto jobs = std::make_shared<std::vector<RecoveredJob>>(std::exchange(line.jobs, {}));
    (*shards_)[shard]->Post([jobs, taken](ShardRuntime* runtime) {
      for (const RecoveredJob& job : *jobs) runtime->shard->Recover(job);
      taken->set_value();
    });
  }

  const std::vector<std::unique_ptr<ShardThread>>* const shards_;
  std::vector<Line> lines_;
};

Task<void> CloseDoor(std::shared_ptr<FrontDoor> door) {
  if (door != nullptr) co_await door->Stop();
}

}  // namespace

Engine::Engine(EngineStart start) : start_(std::move(start)) {}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(EngineStart start) {
  if (absl::Status status = transport::uring::ProbeUring(); !status.ok()) return status;
  std::unique_ptr<Engine> engine(new Engine(std::move(start)));
  if (absl::Status status = engine->OpenQueue(); !status.ok()) return status;
  if (absl::Status status = engine->OpenFlights(); !status.ok()) return status;
  if (absl::Status status = engine->StartShards(); !status.ok()) return status;
  if (absl::Status status = engine->RestoreSuspensions(); !status.ok()) return status;
  if (absl::Status status = engine->RecoverMessages(); !status.ok()) return status;
  LogStart(engine->report_, engine->start_.logger);
  if (absl::Status status = engine->Listen(); !status.ok()) return status;
  return engine;
}

absl::Status Engine::OpenQueue() {
  const config::Options& options = start_.options;
  queue::RocksdbStoreOptions store;
  store.directory = options.general.queue_directory;
  store.accept_loss = start_.accept_loss;
  store.logger = start_.logger;
  const MemoryBudget memory = ShareMemory(static_cast<uint64_t>(options.general.queue_memory_limit),
                                          static_cast<int>(options.general.engine_shards));
  store.memtable_octets = memory.memtable_octets;
  store.cache_octets = memory.cache_octets;
  store.log_reserve_octets = static_cast<uint64_t>(options.general.queue_log_reserve);
  absl::StatusOr<std::unique_ptr<queue::Store>> opened = queue::OpenRocksdbStore(store);
  if (!opened.ok()) return opened.status();
  store_ = *std::move(opened);
  report_.accepted_loss = store_->accepted_loss();
  Tick();

  entropy::EntropyOptions entropy;
  entropy.source = options.entropy.tls_random_source;
  entropy.octets = options.entropy.tls_random_bytes;
  entropy.reseed_period_seconds = absl::ToInt64Seconds(options.entropy.tls_random_reseed_period);
  entropy.update_period_seconds =
      absl::ToInt64Seconds(options.entropy.tls_random_prng_update_period);
  entropy.exchange_file = options.entropy.tls_random_exchange_name;
  auto service = entropy::EntropyService::Start(
      entropy, &clock_, &random_, start_.logger,
      [](std::string_view octets) { transport::tls::AddEntropy(octets); });
  if (!service.ok()) return service.status();
  entropy_ = *std::move(service);

  auto dns = transport::dns::DnsService::Start({});
  if (!dns.ok()) return dns.status();
  dns_ = *std::move(dns);
  for (const std::string& warning : dns_->warnings()) start_.logger->Warning("smtp", warning);
  return absl::OkStatus();
}

// What the last process left in flight is read, joined with what the store knows, and
// listed anew before its own list goes.
absl::Status Engine::OpenFlights() {
  const std::string& directory = start_.options.general.queue_directory;
  const auto shards = static_cast<int>(start_.options.general.engine_shards);
  const BootId boot = CurrentBootId();
  const absl::StatusOr<EarlierFlights> earlier = ReadFlightFiles(directory, boot);
  if (!earlier.ok()) return earlier.status();
  report_.possible_duplicates = FindPossibleDuplicates(*earlier, store_.get(), *start_.settings);
  for (int shard = 0; shard < shards; ++shard) {
    absl::StatusOr<std::unique_ptr<FlightFile>> file = FlightFile::Make(directory, shard, boot);
    if (!file.ok()) return file.status();
    flights_.push_back(*std::move(file));
  }
  for (const PossibleDuplicates::Message& message : report_.possible_duplicates.messages) {
    const auto shard = static_cast<size_t>(QueueIdSource::ShardOf(message.id, shards));
    flights_[shard]->journal().Carry(message.id, message.recipients);
  }
  for (const std::unique_ptr<FlightFile>& file : flights_) {
    if (absl::Status status = file->Publish(); !status.ok()) return status;
  }
  RemoveStaleFlightFiles(directory, shards);
  return absl::OkStatus();
}

absl::Status Engine::StartShards() {
  queue::GroupCommit::Options commits;
  commits.broken = [this](const absl::Status& status) { Fatal(status); };
  committer_ = std::make_unique<queue::GroupCommit>(store_.get(), std::move(commits));
  store_reader_ = std::make_unique<StoreReadThread>(store_.get());
  ShardThreadParts parts;
  parts.clock = &clock_;
  parts.random = &random_;
  parts.logger = start_.logger;
  parts.committer = committer_.get();
  parts.store_reader = store_reader_.get();
  parts.dns = dns_;
  parts.credential_pauses = &credential_pauses_;
  parts.clients = &clients_;
  key_helper_ = std::make_unique<HelperThreads>("keys");
  token_helper_ = std::make_unique<HelperThreads>("tokens", kTokenThreads);
  token_store_ = std::make_unique<tokens::TokenStore>(
      &clock_, [helper = token_helper_.get()](const tokens::TokenSpec& spec, absl::Time now) {
        return tokens::FetchToken(spec, now, [helper] { return helper->stopping(); });
      });
  parts.key_helper = key_helper_.get();
  parts.token_helper = token_helper_.get();
  parts.token_store = token_store_.get();
  parts.settings = start_.settings;
  parts.fatal = [this](const absl::Status& status) { Fatal(status); };
  parts.ready_for_tls = [this] { return entropy_->ReadyForTls(); };
  parts.free_octets = [this] { return free_octets_.value(); };
  for (const auto& file : flights_) parts.flights.push_back(&file->journal());
  parts.shards = static_cast<int>(start_.options.general.engine_shards);
  if (const int most = start_.settings->limits.ShardsMax(); parts.shards > most) {
    // Each shard needs a session of its own: more of them could not keep the limit.
    start_.logger->Info("master", fmt::format("engine_shards = {}, {} started: as many as can "
                                              "share the limits on a destination",
                                              parts.shards, most));
    parts.shards = most;
  }
  parts.highest_id = store_->highest_id();
  for (int i = 0; i < parts.shards; ++i) {
    auto shard = std::make_unique<ShardThread>(i, parts);
    if (absl::Status status = shard->Start(); !status.ok()) return status;
    shards_.push_back(std::move(shard));
  }
  return absl::OkStatus();
}

// Before any message: nothing leaves for a destination that an operator suspended.
absl::Status Engine::RestoreSuspensions() {
  absl::StatusOr<std::vector<Suspension>> loaded =
      LoadSuspensions(start_.options.general.queue_directory);
  if (!loaded.ok()) return loaded.status();
  suspensions_ = *std::move(loaded);
  for (const std::unique_ptr<ShardThread>& shard : shards_) {
    shard->Post([suspensions = suspensions_](ShardRuntime* runtime) {
      for (const Suspension& each : suspensions) {
        runtime->shard->operations().Suspend(each.nexthop, each.reason);
      }
    });
  }
  return absl::OkStatus();
}

// The store is read here and the jobs go to their shards in batches: the two work side by
// side, and at most two batches a shard wait, however long the queue is. Nothing is tried
// before all of it was found whole.
absl::Status Engine::RecoverMessages() {
  RecoveryBatches batches(&shards_);
  const absl::Status status = store_->Recover([&](queue::RecoveredMessage message) {
    report_.Count(message, clock_.Wall());
    if (report_.messages() % kMessagesBetweenLooks == 0 && start_.stop_requested != nullptr &&
        start_.stop_requested()) {
      store_->AbandonRecovery();
    }
    batches.Add(message, *start_.settings);
  });
  batches.Finish();
  if (!status.ok()) return status;
  for (const std::unique_ptr<ShardThread>& shard : shards_) {
    shard->Post([](ShardRuntime* runtime) { runtime->shard->RecoveryEnded(); });
  }
  return absl::OkStatus();
}

absl::Status Engine::Listen() {
  ControlParts control;
  control.shards = &shards_;
  control.logger = start_.logger;
  control.queue_directory = start_.options.general.queue_directory;
  control.suspensions = suspensions_;
  control.store_reader = store_reader_.get();
  control.store = store_.get();
  control.committer = committer_.get();
  control.possible_duplicates = &report_.possible_duplicates;
  control.entropy = entropy_.get();
  control.clock = &clock_;
  control.started = clock_.Mono();
  control.log_stats = start_.log_stats;
  absl::Status status;
  ShardThread* first = shards_.front().get();
  first->PostAndWait([&](ShardRuntime* runtime) {
    auto door = std::make_shared<FrontDoor>(runtime, &shards_, control);
    status = door->Open(start_.options);
    addresses_ = door->addresses();
    // Opened or not, it is the shard that closes it, when it stops.
    first->set_before_stop([door]() mutable { return CloseDoor(std::exchange(door, nullptr)); });
  });
  return status;
}

std::string Engine::Describe() const {
  std::string listening;
  for (const SocketAddress& address : addresses_) {
    listening += listening.empty() ? "" : ", ";
    listening += address.ToString();
  }
  return fmt::format("listening on {}, {} shards, {} messages in the queue",
                     listening.empty() ? "nothing" : listening, shards_.size(), report_.messages());
}

void Engine::Tick() {
  const uint64_t free_octets = store_->stats().free_octets;
  free_octets_.Set(free_octets);
  const FreeSpaceLog::Line line = free_space_log_.Look(free_octets, *start_.settings);
  if (line.text.empty()) return;
  start_.logger->Log(line.refusing ? Severity::kWarning : Severity::kInfo, "queue", line.text);
}

void Engine::Reload(std::shared_ptr<const Settings> settings) {
  start_.settings = settings;
  for (const std::unique_ptr<ShardThread>& shard : shards_) {
    shard->Post([settings](ShardRuntime* runtime) {
      runtime->shard->Reload(settings);
      runtime->submissions->Reconfigure(
          std::shared_ptr<const IntakeOptions>(settings, &settings->intake));
    });
  }
}

// The store can no longer keep its promise: nothing may be acknowledged or recorded any
// more, and a failed sync is never tried again (reliability.md V4). The supervisor
// restarts us on what is on the disk.
void Engine::Fatal(const absl::Status& status) {
  const std::string line = fmt::format("queue failed, stopping: {}", status.ToString());
  start_.logger->Log(Severity::kPanic, "master", line);
  std::fprintf(stderr, "mailrace: panic: %s\n", line.c_str());
  std::_Exit(70);  // EX_SOFTWARE
}

void Engine::BeginStop(absl::Duration grace) {
  for (const std::unique_ptr<ShardThread>& shard : shards_) shard->BeginStop(grace);
}

void Engine::StopNow() {
  for (const std::unique_ptr<ShardThread>& shard : shards_) shard->StopNow();
}

bool Engine::stopped() const {
  for (const std::unique_ptr<ShardThread>& shard : shards_) {
    if (!shard->stopped()) return false;
  }
  return true;
}

Engine::~Engine() {
  // Also the way out of a Start() that failed half-way: nothing keeps running.
  if (!stopped()) BeginStop(absl::ZeroDuration());
  for (const std::unique_ptr<ShardThread>& shard : shards_) shard->Join();
  committer_.reset();
  // What the shards did not see become durable stays listed; the next start asks the store.
  uint64_t unrecorded = 0;
  for (const std::unique_ptr<FlightFile>& file : flights_) {
    unrecorded += file->journal().recipients();
    file->RemoveIfEmpty();
  }
  if (unrecorded > 0) {
    start_.logger->Warning("queue", fmt::format("stop: the outcome of {} recipients could not be "
                                                "recorded, they may be delivered twice",
                                                unrecorded));
  }
  // They post to shards what these no longer wait for: they end before the shards are gone.
  store_reader_.reset();
  token_helper_.reset();
  key_helper_.reset();
  shards_.clear();
  entropy_.reset();
}

}  // namespace mailrace::engine
