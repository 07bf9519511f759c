#include "queue/group_commit.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <semaphore>
#include <thread>

#include "queue/memory_store.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAre;

class Request final : public CommitRequest {
 public:
  explicit Request(CommitSink* sink, uint64_t id = 1, bool is_urgent = true) : CommitRequest(sink) {
    writes.PutRetry(QueueId{id}, RetryState());
    urgent = is_urgent;
  }
  void Done() override {}
};

// Notes what comes back, and lets a test wait for it.
class Sink final : public CommitSink {
 public:
  void Committed(std::span<CommitRequest* const> finished) override {
    const std::lock_guard lock(mutex_);
    calls_.emplace_back(finished.begin(), finished.end());
    count_ += finished.size();
    changed_.notify_all();
  }
  void WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
  }
  std::vector<std::vector<CommitRequest*>> calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<CommitRequest*>> calls_;
  size_t count_ = 0;
};

// A store that nobody reads.
class CommitOnlyStore : public Store {
 public:
  absl::StatusOr<std::string> ReadChunk(QueueId, uint32_t) override {
    return absl::NotFoundError("");
  }
  absl::StatusOr<RecoveredMessage> ReadMessage(QueueId) override { return absl::NotFoundError(""); }
  absl::StatusOr<std::optional<QueueId>> Scan(QueueId, size_t, const ScanVisitor&) override {
    return std::nullopt;
  }
  absl::Status Recover(const std::function<void(RecoveredMessage)>&) override {
    return absl::OkStatus();
  }
  uint64_t highest_id() const override { return 0; }
  Stats stats() const override { return {}; }
};

// A store whose sync takes until the test lets it end.
class GatedStore final : public CommitOnlyStore {
 public:
  absl::Status Commit(std::span<const WriteSet* const> group) override {
    std::unique_lock lock(mutex_);
    group_sizes_.push_back(group.size());
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_ > 0; });
    --open_;
    return status_;
  }
  void LetEnd(int commits) {
    const std::lock_guard lock(mutex_);
    open_ += commits;
    changed_.notify_all();
  }
  void WaitForCommit(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return group_sizes_.size() >= count; });
  }
  void set_status(absl::Status status) {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }
  std::vector<size_t> group_sizes() {
    const std::lock_guard lock(mutex_);
    return group_sizes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int open_ = 0;
  absl::Status status_;
  std::vector<size_t> group_sizes_;
};

// Lazy requests that no timer frees during a test.
const GroupCommit::Options kPatient{.lazy_delay = absl::Hours(1)};

TEST(GroupCommitTest, UrgentRequestIsCommittedAtOnce) {
  GatedStore store;
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request request(&sink);
  request.status = absl::UnknownError("not set");
  commit.Submit(&request);
  sink.WaitFor(1);
  EXPECT_TRUE(request.status.ok());
  EXPECT_THAT(sink.calls(), ElementsAre(ElementsAre(&request)));
}

TEST(GroupCommitTest, WhatArrivesDuringASyncIsTheNextGroup) {
  GatedStore store;
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request first(&sink);
  commit.Submit(&first);
  store.WaitForCommit(1);
  Request second(&sink, 2), third(&sink, 3), fourth(&sink, 4);
  for (Request* request : {&second, &third, &fourth}) commit.Submit(request);
  store.LetEnd(2);
  sink.WaitFor(4);
  EXPECT_THAT(store.group_sizes(), ElementsAre(1, 3));
  EXPECT_THAT(sink.calls(),
              ElementsAre(ElementsAre(&first), ElementsAre(&second, &third, &fourth)));
}

// Its group begins when the one before has ended: no sooner than it was let.
TEST(GroupCommitTest, ARequestIsToldHowLongItWaitedForItsGroup) {
  GatedStore store;
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request first(&sink);
  commit.Submit(&first);
  store.WaitForCommit(1);
  Request second(&sink, 2);
  commit.Submit(&second);
  const auto submitted = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - submitted < std::chrono::microseconds(50)) continue;
  store.LetEnd(2);
  sink.WaitFor(2);
  EXPECT_GE(second.waited, absl::Microseconds(50));
}

TEST(GroupCommitTest, LazyRequestRidesWithTheNextUrgentOneInOrder) {
  GatedStore store;
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request lazy(&sink, 1, false), lazier(&sink, 2, false), urgent(&sink, 3);
  for (Request* request : {&lazy, &lazier, &urgent}) commit.Submit(request);
  sink.WaitFor(3);
  EXPECT_THAT(store.group_sizes(), ElementsAre(3));
  EXPECT_THAT(sink.calls(), ElementsAre(ElementsAre(&lazy, &lazier, &urgent)));
}

TEST(GroupCommitTest, LazyRequestIsCommittedWithoutAnUrgentOne) {
  GatedStore store;
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, {.lazy_delay = absl::Milliseconds(1)});
  Request lazy(&sink, 1, false);
  commit.Submit(&lazy);
  sink.WaitFor(1);
  EXPECT_TRUE(lazy.status.ok());
}

TEST(GroupCommitTest, LazyRequestsThatFillAGroupDoNotWait) {
  GatedStore store;
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, {.lazy_delay = absl::Hours(1), .group_requests_max = 2});
  Request first(&sink, 1, false), second(&sink, 2, false);
  commit.Submit(&first);
  commit.Submit(&second);
  sink.WaitFor(2);
  EXPECT_THAT(store.group_sizes(), ElementsAre(2));
}

TEST(GroupCommitTest, EachSinkIsCalledOnceAGroupWithItsOwnRequests) {
  GatedStore store;
  Sink first_sink, second_sink;
  GroupCommit commit(&store, kPatient);
  Request opener(&first_sink);
  commit.Submit(&opener);
  store.WaitForCommit(1);
  Request a(&first_sink, 2), b(&second_sink, 3), c(&first_sink, 4), d(&second_sink, 5);
  for (Request* request : {&a, &b, &c, &d}) commit.Submit(request);
  store.LetEnd(2);
  first_sink.WaitFor(3);
  second_sink.WaitFor(2);
  EXPECT_THAT(first_sink.calls(), ElementsAre(ElementsAre(&opener), ElementsAre(&a, &c)));
  EXPECT_THAT(second_sink.calls(), ElementsAre(ElementsAre(&b, &d)));
}

TEST(GroupCommitTest, GroupsStayBelowTheirLimits) {
  GatedStore store;
  Sink sink;
  GroupCommit commit(
      &store, {.lazy_delay = absl::Hours(1), .group_octets_max = 250, .group_requests_max = 3});
  Request opener(&sink);
  commit.Submit(&opener);
  store.WaitForCommit(1);
  std::vector<std::unique_ptr<Request>> requests;
  for (int i = 0; i < 4; ++i) requests.push_back(std::make_unique<Request>(&sink));
  for (int i = 0; i < 3; ++i) {  // 100 octets each, and one that is too large alone.
    auto request = std::make_unique<Request>(&sink);
    request->writes = WriteSet();
    request->writes.PutChunk(QueueId{1}, 0,
                             std::make_shared<const std::string>(i == 2 ? 500 : 88, 'x'));
    requests.push_back(std::move(request));
  }
  for (const auto& request : requests) commit.Submit(request.get());
  store.LetEnd(10);
  sink.WaitFor(8);
  // By count: 3; by octets: a small one and two of 100; the large one alone.
  EXPECT_THAT(store.group_sizes(), ElementsAre(1, 3, 3, 1));
}

TEST(GroupCommitTest, FailureOfTheStoreReachesEveryRequest) {
  GatedStore store;
  store.set_status(absl::ResourceExhaustedError("full"));
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request lazy(&sink, 1, false), urgent(&sink, 2);
  commit.Submit(&lazy);
  commit.Submit(&urgent);
  sink.WaitFor(2);
  EXPECT_TRUE(absl::IsResourceExhausted(lazy.status));
  EXPECT_TRUE(absl::IsResourceExhausted(urgent.status));
}

TEST(GroupCommitTest, GoesOnAfterAFailureThatPassed) {
  MemoryStore store;
  store.FailCommits(1, absl::ResourceExhaustedError("full"));
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request refused(&sink, 1), accepted(&sink, 2);
  commit.Submit(&refused);
  sink.WaitFor(1);
  commit.Submit(&accepted);
  sink.WaitFor(2);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status));
  EXPECT_TRUE(accepted.status.ok());
}

TEST(GroupCommitTest, FlushCommitsLazyRequestsNow) {
  GatedStore store;
  store.LetEnd(1);
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request lazy(&sink, 1, false);
  commit.Submit(&lazy);
  commit.Flush();
  EXPECT_THAT(sink.calls(), ElementsAre(ElementsAre(&lazy)));
}

TEST(GroupCommitTest, FlushOfNothingReturns) {
  GatedStore store;
  GroupCommit commit(&store, kPatient);
  commit.Flush();
  EXPECT_TRUE(store.group_sizes().empty());
}

TEST(GroupCommitTest, DestructorCommitsWhatWasSubmitted) {
  GatedStore store;
  store.LetEnd(10);
  Sink sink;
  Request first(&sink, 1, false), second(&sink, 2, false);
  {
    GroupCommit commit(&store, kPatient);
    commit.Submit(&first);
    commit.Submit(&second);
  }
  EXPECT_THAT(sink.calls(), ElementsAre(ElementsAre(&first, &second)));
}

TEST(GroupCommitTest, CountsGroupsAndRequests) {
  GatedStore store;
  store.LetEnd(2);
  Sink sink;
  GroupCommit commit(&store, kPatient);
  Request lazy(&sink, 1, false), urgent(&sink, 2), last(&sink, 3);
  commit.Submit(&lazy);
  commit.Submit(&urgent);
  commit.Flush();
  commit.Submit(&last);
  commit.Flush();
  EXPECT_EQ(commit.stats().groups.value(), 2u);
  EXPECT_EQ(commit.stats().requests.value(), 3u);
  EXPECT_EQ(commit.stats().group_requests.sum(), 3u);
  EXPECT_EQ(commit.stats().sync_time.count(), 2u);
  EXPECT_EQ(commit.stats().wait_time.count(), 3u);
}

// Many shards at once: nothing is lost, nothing comes twice, and what each submitted
// comes back in its order. The sanitizers watch.
TEST(GroupCommitTest, ManyThreadsGetBackExactlyTheirsInOrder) {
  constexpr int kThreads = 4;
  constexpr int kRequests = 500;
  MemoryStore store;
  std::vector<Sink> sinks(kThreads);
  std::vector<std::vector<std::unique_ptr<Request>>> requests(kThreads);
  {
    GroupCommit commit(&store, {.lazy_delay = absl::Milliseconds(1), .group_requests_max = 64});
    std::vector<std::thread> threads;
    for (int shard = 0; shard < kThreads; ++shard) {
      threads.emplace_back([&, shard] {
        for (int i = 0; i < kRequests; ++i) {
          const uint64_t id = shard * kRequests + i;
          requests[shard].push_back(std::make_unique<Request>(&sinks[shard], id, i % 3 != 0));
          commit.Submit(requests[shard].back().get());
        }
        sinks[shard].WaitFor(kRequests);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (int shard = 0; shard < kThreads; ++shard) {
    std::vector<CommitRequest*> expected, back;
    for (const auto& request : requests[shard]) expected.push_back(request.get());
    for (const auto& call : sinks[shard].calls()) back.insert(back.end(), call.begin(), call.end());
    EXPECT_EQ(back, expected);
  }
}

// Says that a group is durable, and goes on with it until it may end.
class EarlyStore final : public CommitOnlyStore {
 public:
  explicit EarlyStore(absl::Status end) : end_(std::move(end)) {}
  void set_on_durable(std::function<void()> durable) override { durable_ = std::move(durable); }
  absl::Status Commit(std::span<const WriteSet* const>) override {
    durable_();
    may_end_.acquire();
    return end_;
  }
  void LetEnd() { may_end_.release(); }
  bool told() const { return durable_ != nullptr; }

 private:
  const absl::Status end_;
  std::function<void()> durable_;
  std::counting_semaphore<> may_end_{0};
};

TEST(GroupCommitTest, RequestsComeBackWhenTheirGroupIsDurableNotWhenItsCommitEnds) {
  EarlyStore store(absl::OkStatus());
  Sink sink;
  {
    GroupCommit commit(&store, kPatient);
    auto request = std::make_unique<Request>(&sink);
    request->status = absl::UnknownError("not set");
    commit.Submit(request.get());
    sink.WaitFor(1);
    EXPECT_TRUE(request->status.ok());
    request.reset();  // Its shard is through with it.
    store.LetEnd();
    commit.Flush();
    EXPECT_EQ(commit.stats().groups.value(), 1u);
  }
  EXPECT_THAT(sink.calls(), testing::SizeIs(1));
  EXPECT_FALSE(store.told()) << "the store outlives its committer";
}

TEST(GroupCommitTest, NoRequestComesBackTwiceIfItsCommitFailsAfterAll) {
  EarlyStore store(absl::DataLossError("no memory"));
  Sink sink;
  std::vector<absl::Status> broken;
  GroupCommit::Options options = kPatient;
  options.broken = [&broken](const absl::Status& status) { broken.push_back(status); };
  GroupCommit commit(&store, options);
  Request first(&sink);
  Request second(&sink);
  commit.Submit(&first);
  store.LetEnd();
  sink.WaitFor(1);
  commit.Submit(&second);
  store.LetEnd();
  sink.WaitFor(2);
  EXPECT_TRUE(first.status.ok()) << "it is durable";
  commit.Flush();
  EXPECT_THAT(broken, testing::SizeIs(2)) << "the process must stop";
}

}  // namespace
}  // namespace mailrace::queue
