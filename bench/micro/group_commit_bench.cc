// Durable 4 KiB messages a second through the group commit: RocksDB with a sync a
// group, on the file system of TMPDIR (point it at the queue's disk), accepted and then
// removed as a healthy queue does. The argument is how many intakes wait at a time,
// which is about the size of a group.
#include <benchmark/benchmark.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "queue/group_commit.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store.h"

namespace mailrace::queue {
namespace {

constexpr size_t kBodyOctets = 4096;

class Sink final : public CommitSink {
 public:
  void Committed(std::span<CommitRequest* const> finished) override {
    const std::lock_guard lock(mutex_);
    for (CommitRequest* request : finished) failed_ |= !request->status.ok();
    count_ += finished.size();
    changed_.notify_one();
  }
  // True if all went well.
  bool WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
    return !failed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t count_ = 0;
  bool failed_ = false;
};

class Request final : public CommitRequest {
 public:
  using CommitRequest::CommitRequest;
  void Done() override {}
};

Envelope TypicalEnvelope(uint64_t id) {
  Envelope envelope;
  envelope.id = QueueId{id};
  envelope.arrival = absl::FromUnixSeconds(1'800'000'000);
  envelope.reverse_path = "bounces+12345@notify.example.org";
  envelope.message_id = "<20261122.123456789@notify.example.org>";
  envelope.octets = kBodyOctets;
  envelope.chunks = 1;
  envelope.recipients.push_back({"some.recipient@example.net", "", 0});
  return envelope;
}

void BM_DurableMessages(benchmark::State& state) {
  const auto waiting = static_cast<size_t>(state.range(0));
  std::string directory =
      (std::filesystem::temp_directory_path() / "mailrace-bench-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) {
    state.SkipWithError("no temporary directory");
    return;
  }
  RocksdbStoreOptions options;
  options.directory = directory + "/spool";
  auto store = OpenRocksdbStore(options);
  if (!store.ok()) {
    state.SkipWithError("the store does not open");
    return;
  }
  const auto body = std::make_shared<const std::string>(kBodyOctets, 'x');
  uint64_t id = 1;
  bool well = true;
  {
    GroupCommit commit(store->get(), GroupCommit::Options());
    Sink sink;
    size_t submitted = 0;
    std::vector<std::unique_ptr<Request>> requests;
    for (auto _ : state) {
      // Accept as many as wait; those of the last turn are delivered by now.
      std::vector<std::unique_ptr<Request>> accepted;
      for (size_t i = 0; i < waiting; ++i, ++id) {
        accepted.push_back(std::make_unique<Request>(&sink));
        accepted.back()->writes.PutChunk(QueueId{id}, 0, body);
        accepted.back()->writes.PutMessage(TypicalEnvelope(id));
        auto removal = std::make_unique<Request>(&sink);
        removal->urgent = false;
        if (id > waiting) removal->writes.RemoveMessage(QueueId{id - waiting}, 1, {}, false);
        commit.Submit(removal.get());
        accepted.push_back(std::move(removal));
      }
      for (size_t i = 0; i < accepted.size(); i += 2) commit.Submit(accepted[i].get());
      submitted += accepted.size();
      well &= sink.WaitFor(submitted);
      requests = std::move(accepted);
    }
    state.counters["requests/group"] = static_cast<double>(commit.stats().requests.value()) /
                                       static_cast<double>(commit.stats().groups.value());
    state.counters["sync_us"] = static_cast<double>(commit.stats().sync_time.sum()) /
                                static_cast<double>(commit.stats().sync_time.count());
  }
  if (!well) state.SkipWithError("a commit failed");
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * waiting));
  state.counters["octets_written/message"] =
      static_cast<double>((*store)->stats().octets_written) / static_cast<double>(id);
  store->reset();
  std::filesystem::remove_all(directory);
}
BENCHMARK(BM_DurableMessages)->Arg(1)->Arg(8)->Arg(32)->Arg(128)->Arg(512)->UseRealTime();

// The same into memory: what the group commit itself costs.
void BM_GroupCommitAlone(benchmark::State& state) {
  class NullStore final : public Store {
   public:
    absl::Status Commit(std::span<const WriteSet* const>) override { return {}; }
    absl::StatusOr<std::string> ReadChunk(QueueId, uint32_t) override {
      return absl::NotFoundError("");
    }
    absl::StatusOr<RecoveredMessage> ReadMessage(QueueId) override {
      return absl::NotFoundError("");
    }
    absl::StatusOr<std::optional<QueueId>> Scan(QueueId, size_t, const ScanVisitor&) override {
      return std::nullopt;
    }
    absl::Status Recover(const std::function<void(RecoveredMessage)>&) override { return {}; }
    uint64_t highest_id() const override { return 0; }
    Stats stats() const override { return {}; }
  };
  NullStore store;
  GroupCommit commit(&store, GroupCommit::Options());
  Sink sink;
  std::vector<std::unique_ptr<Request>> requests;
  for (int i = 0; i < 128; ++i) requests.push_back(std::make_unique<Request>(&sink));
  size_t submitted = 0;
  for (auto _ : state) {
    for (const auto& request : requests) commit.Submit(request.get());
    submitted += requests.size();
    sink.WaitFor(submitted);
  }
  state.SetItemsProcessed(static_cast<int64_t>(submitted));
}
BENCHMARK(BM_GroupCommitAlone)->UseRealTime();

void BM_EncodeAccepted(benchmark::State& state) {
  const auto body = std::make_shared<const std::string>(kBodyOctets, 'x');
  const Envelope envelope = TypicalEnvelope(1);
  for (auto _ : state) {
    WriteSet set;
    set.PutChunk(envelope.id, 0, body);
    set.PutMessage(envelope);
    benchmark::DoNotOptimize(set);
  }
}
BENCHMARK(BM_EncodeAccepted);

void BM_DecodeEnvelope(benchmark::State& state) {
  const std::string record = EncodeEnvelope(TypicalEnvelope(1));
  for (auto _ : state) benchmark::DoNotOptimize(DecodeEnvelope(QueueId{1}, record));
}
BENCHMARK(BM_DecodeEnvelope);

}  // namespace
}  // namespace mailrace::queue
