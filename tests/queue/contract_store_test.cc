// What every Store promises, shown on each of them.

#include "queue/memory_store.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StoreContractTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { Restart(); }

  // A clean stop and a new process.
  void Restart() {
    if (!GetParam()) {
      if (store_ == nullptr) store_ = std::make_unique<MemoryStore>();
      static_cast<MemoryStore*>(store_.get())->Crash();
      return;
    }
    store_.reset();
    RocksdbStoreOptions options;
    options.directory = temporary_ / "spool";
    options.memtable_octets = 8 << 20;
    auto store = OpenRocksdbStore(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Commit(const WriteSet& set) {
    const absl::Status status = CommitOne(store_.get(), set);
    ASSERT_TRUE(status.ok()) << status;
  }
  std::vector<RecoveredMessage> Recover() {
    std::vector<RecoveredMessage> messages;
    EXPECT_TRUE(
        store_->Recover([&](RecoveredMessage found) { messages.push_back(std::move(found)); })
            .ok());
    return messages;
  }

  TemporaryDirectory temporary_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreContractTest, NewQueueIsEmpty) {
  EXPECT_THAT(Recover(), IsEmpty());
  EXPECT_EQ(store_->stats().commits, 0u);
}

TEST_P(StoreContractTest, AcceptedMessagesAreFoundInOrderOfIds) {
  for (const uint64_t id : {300u, 2u, 256u, 255u}) Commit(Accepted(id));
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(2, 255, 256, 300));
}

TEST_P(StoreContractTest, SeveralSetsBecomeDurableTogether) {
  const WriteSet first = Accepted(1);
  const WriteSet second = Accepted(2, 3);
  const WriteSet* const group[] = {&first, &second};
  ASSERT_TRUE(store_->Commit(group).ok());
  EXPECT_EQ(store_->stats().commits, 1u);
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1, 2));
}

TEST_P(StoreContractTest, OfOneGroupTheLaterSetCounts) {
  Commit(Accepted(5));
  WriteSet removal;
  removal.RemoveMessage(QueueId{5}, 1, {}, false);
  const WriteSet again = Accepted(5);
  const WriteSet other = Accepted(6);
  WriteSet last;
  last.RemoveMessage(QueueId{6}, 1, {}, false);
  const WriteSet* const group[] = {&removal, &other, &again, &last};
  ASSERT_TRUE(store_->Commit(group).ok());
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(5));
  EXPECT_TRUE(store_->ReadChunk(QueueId{5}, 0).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{6}, 0).status()));
}

TEST_P(StoreContractTest, AScanGoesThroughTheQueueInSlices) {
  for (const uint64_t id : {300u, 2u, 256u, 255u, 7u}) Commit(Accepted(id));
  WriteSet outcome;
  outcome.PutDone(QueueId{255}, 1, Final::kExpired);
  RetryState retry;
  retry.attempts = 3;
  outcome.PutRetry(QueueId{300}, retry);
  outcome.PutRetry(QueueId{1}, retry);  // Of no message.
  Commit(outcome);
  std::vector<uint64_t> slices;
  std::vector<RecoveredMessage> messages;
  std::optional<QueueId> from = QueueId{3};
  while (from) {
    size_t slice = 0;
    const auto next =
        store_->Scan(*from, 2, [&](QueueId id, absl::StatusOr<RecoveredMessage> found) {
          ASSERT_TRUE(found.ok()) << found.status();
          EXPECT_EQ(found->envelope.id, id);
          messages.push_back(*std::move(found));
          ++slice;
        });
    ASSERT_TRUE(next.ok()) << next.status();
    from = *next;
    slices.push_back(slice);
  }
  EXPECT_THAT(slices, ElementsAre(2, 2));
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0].envelope.id, QueueId{7});
  EXPECT_FALSE(messages[0].has_retry);
  EXPECT_THAT(messages[1].done_indices, ElementsAre(1));
  EXPECT_THAT(messages[1].done_finals, ElementsAre(Final::kExpired));
  EXPECT_THAT(messages[2].done_indices, IsEmpty());
  EXPECT_EQ(messages[3].envelope.id, QueueId{300});
  EXPECT_EQ(messages[3].retry.attempts, 3u);
}

TEST_P(StoreContractTest, AScanOfNothingEndsAtOnce) {
  const auto visit = [](QueueId, absl::StatusOr<RecoveredMessage>) { FAIL(); };
  EXPECT_EQ(store_->Scan(QueueId{}, 10, visit).value(), std::nullopt);
  Commit(Accepted(5));
  EXPECT_EQ(store_->Scan(QueueId{6}, 10, visit).value(), std::nullopt);
}

TEST_P(StoreContractTest, AMessageIsReadWithItsOutcomes) {
  Commit(Accepted(5));
  WriteSet outcome;
  outcome.PutDone(QueueId{5}, 0, Final::kFailed);
  Commit(outcome);
  const auto found = store_->ReadMessage(QueueId{5});
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(found->done_finals, ElementsAre(Final::kFailed));
  EXPECT_TRUE(absl::IsNotFound(store_->ReadMessage(QueueId{4}).status()));
}

TEST_P(StoreContractTest, OutcomesAreJoinedToTheirMessage) {
  Commit(Accepted(5));
  Commit(Accepted(6));
  WriteSet outcome;
  outcome.PutDone(QueueId{5}, 1, Final::kDelivered);
  outcome.PutDone(QueueId{5}, 0, Final::kFailed);
  RetryState retry;
  retry.attempts = 3;
  retry.last_reason = "later";
  outcome.PutRetry(QueueId{6}, retry);
  Commit(outcome);
  retry.attempts = 4;
  WriteSet again;
  again.PutRetry(QueueId{6}, retry);
  Commit(again);
  Restart();
  const std::vector<RecoveredMessage> messages = Recover();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_THAT(messages[0].done_indices, ElementsAre(0, 1));
  EXPECT_FALSE(messages[0].has_retry);
  EXPECT_THAT(messages[1].done_indices, IsEmpty());
  ASSERT_TRUE(messages[1].has_retry);
  EXPECT_EQ(messages[1].retry.attempts, 4u);
  EXPECT_EQ(messages[1].retry.last_reason, "later");

  const auto read = store_->ReadMessage(QueueId{5});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->envelope.reverse_path, "sender@example.org");
  EXPECT_THAT(read->done_indices, ElementsAre(0, 1));
  EXPECT_FALSE(read->has_retry);
  EXPECT_EQ(store_->ReadMessage(QueueId{6})->retry.attempts, 4u);
}

TEST_P(StoreContractTest, RemovedMessageIsGoneWithAllItsRecords) {
  Commit(Accepted(5, 2));
  WriteSet outcome;
  outcome.PutDone(QueueId{5}, 0, Final::kDelivered);
  outcome.PutRetry(QueueId{5}, RetryState());
  Commit(outcome);
  WriteSet removal;
  removal.RemoveMessage(QueueId{5}, 2, {0}, true);
  Commit(removal);
  EXPECT_TRUE(absl::IsNotFound(store_->ReadMessage(QueueId{5}).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{5}, 1).status()));
  Restart();
  EXPECT_THAT(Recover(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{5}, 0).status()));
}

TEST_P(StoreContractTest, BodiesOfIntakesThatWereCutShortAreRemoved) {
  for (const uint64_t id : {1u, 4u, 9u}) {
    WriteSet chunk;
    chunk.OpenIntake(QueueId{id});
    chunk.PutChunk(QueueId{id}, 0, std::make_shared<const std::string>("begun"));
    Commit(chunk);
    WriteSet more;
    more.PutChunk(QueueId{id}, 1, std::make_shared<const std::string>("and not ended"));
    Commit(more);
  }
  Commit(Accepted(3));
  Commit(Accepted(5));
  Restart();
  EXPECT_TRUE(store_->ReadChunk(QueueId{4}, 0).ok());
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(3, 5));
  Restart();
  for (const uint64_t id : {1u, 4u, 9u}) {
    EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{id}, 0).status())) << id;
    EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{id}, 1).status())) << id;
  }
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(3, 5));
}

TEST_P(StoreContractTest, BodyOfAnIntakeThatBecameAMessageStays) {
  WriteSet first;
  first.OpenIntake(QueueId{7});
  first.PutChunk(QueueId{7}, 0, std::make_shared<const std::string>(BodyOf(7, 0)));
  Commit(first);
  WriteSet last;
  last.PutChunk(QueueId{7}, 1, std::make_shared<const std::string>(BodyOf(7, 1)));
  last.CloseIntake(QueueId{7});
  last.PutMessage(EnvelopeOf(7, 2));
  Commit(last);
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(7));
}

// What a refused group that came back may leave: a message, and its intake still open.
TEST_P(StoreContractTest, OpenIntakeTakesNothingFromAMessage) {
  WriteSet begun;
  begun.OpenIntake(QueueId{7});
  Commit(begun);
  Commit(Accepted(7, 2));
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(7));
  Restart();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(7));
}

TEST_P(StoreContractTest, IntakeThatWasGivenUpLeavesNothing) {
  WriteSet begun;
  begun.OpenIntake(QueueId{7});
  begun.PutChunk(QueueId{7}, 0, std::make_shared<const std::string>("begun"));
  Commit(begun);
  WriteSet given_up;
  given_up.RemoveIntake(QueueId{7}, 1);
  Commit(given_up);
  EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{7}, 0).status()));
  Restart();
  EXPECT_THAT(Recover(), IsEmpty());
}

TEST_P(StoreContractTest, OutcomesOfNoMessageAreRemoved) {
  Commit(Accepted(3));
  WriteSet rests;
  rests.PutDone(QueueId{2}, 0, Final::kDelivered);
  rests.PutRetry(QueueId{4}, RetryState());
  Commit(rests);
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(3));
  // The message of an id that comes back must not inherit them.
  Commit(Accepted(2));
  Commit(Accepted(4));
  Restart();
  for (const RecoveredMessage& message : Recover()) {
    EXPECT_THAT(message.done_indices, IsEmpty());
    EXPECT_FALSE(message.has_retry);
  }
}

TEST_P(StoreContractTest, HighestIdStaysAboveEveryIdThatWasUsed) {
  Commit(Accepted(1000));
  EXPECT_GT(store_->highest_id(), 1000u);
  WriteSet removal;
  removal.RemoveMessage(QueueId{1000}, 1, {}, false);
  Commit(removal);
  Commit(Accepted(10));  // The clock was set back.
  Restart();
  EXPECT_GT(store_->highest_id(), 1000u);
}

TEST_P(StoreContractTest, GroupThatChangesNothingIsNoCommit) {
  EXPECT_TRUE(CommitOne(store_.get(), WriteSet()).ok());
  EXPECT_TRUE(store_->Commit({}).ok());
}

TEST_P(StoreContractTest, FreeSpaceIsTold) { EXPECT_GT(store_->stats().free_octets, 0u); }

INSTANTIATE_TEST_SUITE_P(Stores, StoreContractTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Rocksdb" : "Memory"; });

}  // namespace
}  // namespace mailrace::queue
