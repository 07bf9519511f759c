#include "tools/blast/loader.h"

#include <utility>

#include "transport/tls/context.h"

namespace mailrace::blast {

using transport::uring::UringShard;

Loader::Loader(const Clock* clock, BlastOptions options, std::function<void()> on_end)
    : clock_(clock), options_(std::move(options)), on_end_(std::move(on_end)) {}

absl::Status Loader::Start() {
  absl::StatusOr<Composer> composer = Composer::Make(options_, clock_->Wall());
  if (!composer.ok()) return composer.status();
  composer_.emplace(*std::move(composer));
  if (options_.tls || options_.implicit_tls) {
    transport::tls::ClientContextOptions tls;
    tls.ca_file = options_.ca_file;
    absl::StatusOr<std::shared_ptr<const transport::tls::Context>> context =
        transport::tls::MakeClientContext(tls);
    if (!context.ok()) return context.status();
    tls_ = *std::move(context);
  }
  if (!options_.ledger_file.empty()) {
    if (absl::Status status = ledger_.Open(options_.ledger_file); !status.ok()) return status;
  }
  std::promise<absl::Status> opened;
  std::future<absl::Status> result = opened.get_future();
  thread_ = std::thread([this, promise = std::move(opened)]() mutable { Run(std::move(promise)); });
  absl::Status status = result.get();
  if (!status.ok()) thread_.join();
  return status;
}

void Loader::Run(std::promise<absl::Status> opened) {
  UringShard shard(clock_);
  shard.OnWake([this] {
    std::vector<std::function<void()>> calls;
    {
      const std::lock_guard lock(mutex_);
      calls.swap(calls_);
    }
    for (const std::function<void()>& call : calls) call();
  });
  if (absl::Status status = shard.Open(); !status.ok()) {
    opened.set_value(std::move(status));
    return;
  }
  started_ = clock_->Mono();
  started_wall_ = clock_->Wall();
  opened.set_value(absl::OkStatus());
  Send(&shard);
  on_end_();
}

void Loader::Send(UringShard* shard) {
  Loop* loop = &shard->loop();
  Schedule schedule(options_, started_);
  Event stopped(loop);
  TaskScope scope(loop);
  TaskScope flushing(loop);
  context_.client = {&options_, loop, &shard->network(), tls_};
  context_.composer = &*composer_;
  context_.schedule = &schedule;
  context_.tally = &tally_;
  context_.ledger = ledger_.is_open() ? &ledger_ : nullptr;
  context_.stopped = &stopped;
  context_.last_session = started_;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    senders_.push_back(std::make_unique<Sender>(&context_));
    scope.Spawn(senders_.back()->Run());
  }
  {
    const std::lock_guard lock(mutex_);
    shard_ = shard;
    if (!calls_.empty()) shard->Wake();
  }
  bool over = false;
  flushing.Spawn(FlushLedger(&over));
  shard->Run([&] { return scope.running() == 0; });
  ended_ = clock_->Mono();
  {
    const std::lock_guard lock(mutex_);
    shard_ = nullptr;
    over_ = true;
    calls_.clear();
  }
  over = true;
  stopped.NotifyAll();
  shard->Run([&] { return flushing.running() == 0; });
  ledger_status_ = context_.ledger_status;
  if (ledger_.is_open()) ledger_status_.Update(ledger_.Flush());
  senders_.clear();
}

// Others may follow the ledger while it grows.
Task<void> Loader::FlushLedger(const bool* over) {
  constexpr absl::Duration kInterval = absl::Milliseconds(200);
  while (!*over) {
    if (context_.ledger != nullptr) {
      const absl::Status kept = context_.ledger->Flush();
      context_.ledger_status.Update(kept);
    }
    const MonoTime next = context_.client.loop->now() + kInterval;
    // Other stops are none of ours: wait on.
    co_await context_.stopped->Wait(next);
  }
}

void Loader::Post(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  if (over_) return;
  calls_.push_back(std::move(call));
  if (shard_ != nullptr) shard_->Wake();
}

void Loader::Stop() {
  Post([this] {
    context_.schedule->Stop();
    context_.stopped->NotifyAll();
  });
}

void Loader::Cancel() {
  Post([this] {
    context_.schedule->Stop();
    context_.client.network->CancelConnects();
    for (const std::unique_ptr<Sender>& sender : senders_) sender->Cancel();
    context_.stopped->NotifyAll();
  });
}

absl::Status Loader::Join() {
  if (thread_.joinable()) thread_.join();
  joined_ = true;
  return ledger_status_;
}

}  // namespace mailrace::blast
