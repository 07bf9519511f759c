#include "engine/shard_thread.h"

#include <pthread.h>

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/sync.h"
#include "fmt/format.h"

namespace mailrace::engine {

// Hands what the commit thread finished back to the shard: one call a group.
namespace {

// Requests on their way back to their shard. If it is gone before they come, they are told
// all the same: who is left then only frees itself.
class Returned {
 public:
  explicit Returned(std::span<queue::CommitRequest* const> requests)
      : requests_(requests.begin(), requests.end()) {}
  Returned(const Returned&) = delete;
  Returned& operator=(const Returned&) = delete;
  ~Returned() { Tell(); }

  void Tell() {
    for (queue::CommitRequest* request : std::exchange(requests_, {})) request->Done();
  }

 private:
  std::vector<queue::CommitRequest*> requests_;
};

}  // namespace

class ShardThread::Sink final : public queue::CommitSink {
 public:
  explicit Sink(ShardInbox* inbox) : inbox_(inbox) {}
  void Committed(std::span<queue::CommitRequest* const> finished) override {
    inbox_->Post([returned = std::make_shared<Returned>(finished)] { returned->Tell(); });
  }

 private:
  ShardInbox* const inbox_;
};

ShardThread::ShardThread(int index, ShardThreadParts parts)
    : index_(index), parts_(std::move(parts)), inbox_([this] {
        const std::lock_guard lock(ring_mutex_);
        if (ring_ != nullptr) ring_->Wake();
      }) {}

ShardThread::~ShardThread() { Join(); }

absl::Status ShardThread::Start() {
  std::promise<absl::Status> opened;
  std::future<absl::Status> result = opened.get_future();
  thread_ = std::thread([this, promise = std::move(opened)]() mutable { Run(std::move(promise)); });
  pthread_setname_np(thread_.native_handle(), fmt::format("shard-{}", index_).c_str());
  absl::Status status = result.get();
  if (!status.ok()) thread_.join();
  return status;
}

void ShardThread::Run(std::promise<absl::Status> opened) {
  transport::uring::UringShard ring(parts_.clock);
  ring.OnWake([this] { inbox_.Drain(); });
  if (absl::Status status = ring.Open(); !status.ok()) {
    opened.set_value(std::move(status));
    return;
  }
  SetRing(&ring);

  transport::dns::UnboundResolver resolver(parts_.dns, &ring.loop(), &inbox_);
  ShardStoreReader reader(parts_.store_reader, &inbox_);
  Sink sink(&inbox_);
  ShardHelper key_helper(parts_.key_helper, &inbox_);
  ShardHelper token_helper(parts_.token_helper, &inbox_);
  ShardTokens tokens(&ring.loop(), &token_helper, parts_.token_store);
  ShardContext context;
  context.shard = index_;
  context.shards = parts_.shards;
  context.loop = &ring.loop();
  context.network = &ring.network();
  context.resolver = &resolver;
  context.committer = parts_.committer;
  context.commit_sink = &sink;
  context.reader = &reader;
  context.logger = parts_.logger;
  context.random = parts_.random;
  context.flights = parts_.flights[static_cast<size_t>(index_)];
  context.credential_pauses = parts_.credential_pauses;
  context.helper = &key_helper;
  context.tokens = &tokens;
  context.fatal = parts_.fatal;
  context.free_octets = parts_.free_octets;
  context.ready_for_tls = parts_.ready_for_tls;
  context.settings = parts_.settings;
  {
    Shard shard(std::move(context), parts_.highest_id);
    IntakeStats intake_stats;
    const SubmissionContext submission{&ring.loop(), &shard, parts_.logger, &intake_stats,
                                       parts_.clients};
    SubmissionServer submissions(
        &submission, &ring.network(),
        std::shared_ptr<const IntakeOptions>(parts_.settings, &parts_.settings->intake));
    runtime_ = {&ring, &shard, &submissions, &intake_stats, &submission};
    opened.set_value(absl::OkStatus());
    ring.Run([this] { return stopped(); });
  }
  SetRing(nullptr);
}

void ShardThread::SetRing(transport::uring::UringShard* ring) {
  const std::lock_guard lock(ring_mutex_);
  ring_ = ring;
  // What was posted before there was a ring to wake is heard now.
  if (ring_ != nullptr) ring_->Wake();
}

void ShardThread::Post(std::function<void(ShardRuntime*)> call) {
  inbox_.Post([this, call = std::move(call)] { call(&runtime_); });
}

void ShardThread::PostAndWait(std::function<void(ShardRuntime*)> call) {
  std::promise<void> done;
  std::future<void> finished = done.get_future();
  Post([&](ShardRuntime* runtime) {
    call(runtime);
    done.set_value();
  });
  finished.wait();
}

Task<void> ShardThread::StopTask(ShardRuntime* runtime, absl::Duration grace) {
  if (before_stop_ != nullptr) co_await before_stop_();
  Loop* loop = &runtime->ring->loop();
  const MonoTime deadline = loop->now() + grace;
  CallbackTimer cut_off([runtime] { runtime->shard->Cancel(); });
  loop->timers().Arm(&cut_off, deadline);
  runtime->shard->Drain();
  co_await runtime->submissions->Stop(grace);
  co_await runtime->shard->Join(deadline);
  stopped_.store(true, std::memory_order_release);
}

void ShardThread::BeginStop(absl::Duration grace) {
  Post([this, grace](ShardRuntime* runtime) {
    if (stopping_) return;
    stopping_ = true;
    // Not in the shard's scope: this task awaits that scope's end.
    stop_scope_ = std::make_unique<TaskScope>(&runtime->ring->loop());
    stop_scope_->Spawn(StopTask(runtime, grace));
  });
}

void ShardThread::StopNow() {
  Post([](ShardRuntime* runtime) {
    runtime->submissions->StopNow();
    runtime->shard->Cancel();
  });
}

void ShardThread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace mailrace::engine
