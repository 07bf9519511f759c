#include "queue/memory_store.h"

#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAre;

TEST(MemoryStoreTest, WhatWasSyncedSurvivesTheCrash) {
  MemoryStore store;
  ASSERT_TRUE(CommitOne(&store, Accepted(1)).ok());
  store.Crash();
  EXPECT_THAT(FoundIds(&store), ElementsAre(1));
}

TEST(MemoryStoreTest, IgnoredSyncIsLostInTheCrash) {
  MemoryStore store;
  ASSERT_TRUE(CommitOne(&store, Accepted(1)).ok());
  store.set_sync_is_ignored(true);
  ASSERT_TRUE(CommitOne(&store, Accepted(2)).ok());
  EXPECT_TRUE(store.ReadMessage(QueueId{2}).ok());
  store.Crash();
  EXPECT_THAT(FoundIds(&store), ElementsAre(1));
}

TEST(MemoryStoreTest, NextHonestSyncCarriesWhatWasIgnoredBefore) {
  MemoryStore store;
  store.set_sync_is_ignored(true);
  ASSERT_TRUE(CommitOne(&store, Accepted(1)).ok());
  store.set_sync_is_ignored(false);
  ASSERT_TRUE(CommitOne(&store, Accepted(2)).ok());
  store.Crash();
  EXPECT_THAT(FoundIds(&store), ElementsAre(1, 2));
}

TEST(MemoryStoreTest, FullDiskRefusesAndRecovers) {
  MemoryStore store;
  store.FailCommits(2, absl::ResourceExhaustedError("full"));
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(&store, Accepted(1))));
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(&store, Accepted(2))));
  EXPECT_TRUE(CommitOne(&store, Accepted(3)).ok());
  EXPECT_THAT(FoundIds(&store), ElementsAre(3));
}

TEST(MemoryStoreTest, FailedSyncEndsTheStoreUntilTheNextProcess) {
  MemoryStore store;
  ASSERT_TRUE(CommitOne(&store, Accepted(1)).ok());
  store.FailCommits(1, absl::DataLossError("EIO"));
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(&store, Accepted(2))));
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(&store, Accepted(3))));
  EXPECT_TRUE(absl::IsDataLoss(store.ReadMessage(QueueId{1}).status()));
  store.Crash();
  EXPECT_THAT(FoundIds(&store), ElementsAre(1));
}

TEST(MemoryStoreTest, RefusedGroupMayComeBack) {
  MemoryStore store;
  store.FailCommits(1, absl::DataLossError("EIO"), /*survives=*/true);
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(&store, Accepted(2))));
  store.Crash();
  EXPECT_THAT(FoundIds(&store), ElementsAre(2));
}

}  // namespace
}  // namespace mailrace::queue
