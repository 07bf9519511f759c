// The power goes, syncs fail, the disk fills: what was acknowledged is there afterwards
// (reliability.md V1, V4, V5, V6).

#include <set>

#include "base/random.h"
#include "queue/rocksdb_store_impl.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

// With logs that grow, and with logs that are written over files which are there.
class PowerCutStoreTest : public RocksdbStoreTest, public testing::WithParamInterface<uint64_t> {
 protected:
  PowerCutStoreTest() { options_.log_reserve_octets = GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Logs, PowerCutStoreTest, testing::Values(0, 256 << 10),
                         [](const auto& info) {
                           return info.param == 0 ? "Grow" : "AreWrittenOver";
                         });

TEST_P(PowerCutStoreTest, KeepsAll500AcknowledgedMessages) {  // V1.
  MustOpen();
  Accept(1, 500);
  CutPower();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(500)));
}

TEST_P(PowerCutStoreTest, OracleSeesThatIgnoredSyncsLoseMessages) {
  MustOpen();
  Accept(1, 10);
  file_system_->SetSyncIsIgnored(true);
  Accept(11, 20);
  CutPower();
  file_system_->SetSyncIsIgnored(false);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

TEST_P(PowerCutStoreTest, EveryCommitIsOneSyncOfTheLog) {
  MustOpen();
  const uint64_t before = file_system_->log_syncs();
  Accept(1, 20);
  EXPECT_EQ(file_system_->log_syncs() - before, 20u);
}

TEST_P(PowerCutStoreTest, CutAfterEveryCommitKeepsAllAcknowledged) {
  for (uint64_t id = 1; id <= 40; ++id) {
    MustOpen();
    Accept(id, id);
    CutPower();
    MustOpen();
    ASSERT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(id)));
    ASSERT_GT(store_->highest_id(), id);
    Close();
  }
}

// Small memtables: flushes, compactions, new logs and manifests lie between the cuts.
TEST_P(PowerCutStoreTest, CutsAmongFlushesAndRemovalsKeepExactlyWhatIsOwed) {
  options_.memtable_octets = 256 << 10;
  SeededRandom random(7);
  std::set<uint64_t> owed;
  uint64_t next = 1;
  for (int cut = 0; cut < 25; ++cut) {
    MustOpen();
    ASSERT_THAT(FoundIds(store_.get()), ElementsAreArray(owed)) << "cut " << cut;
    const uint64_t steps = random.Below(300);
    for (uint64_t step = 0; step < steps; ++step) {
      if (!owed.empty() && random.Below(3) != 0) {
        auto victim = owed.begin();
        std::advance(victim, random.Below(std::min<size_t>(owed.size(), 50)));
        Remove(*victim);
        owed.erase(victim);
      } else {
        Accept(next, next);
        owed.insert(next++);
      }
    }
    if (random.Below(4) == 0) {
      Close();
    } else {
      CutPower();
    }
  }
}

TEST_P(PowerCutStoreTest, FailedSyncEndsTheStoreAndLosesNothing) {  // V4.
  MustOpen();
  Accept(1, 10);
  file_system_->FailLogSyncs(1);
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(store_.get(), Accepted(11))));
  // The disk is well again; the store must not believe it.
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(store_.get(), Accepted(12))));
  EXPECT_TRUE(absl::IsDataLoss(store_->ReadMessage(QueueId{1}).status()));
  EXPECT_TRUE(absl::IsDataLoss(store_->ReadChunk(QueueId{1}, 0).status()));
  EXPECT_THAT(logger_.lines(), HasSubstr("Input/output error"));
  // The refused message may be there afterwards, the one after it not.
  MustOpen();
  const std::vector<uint64_t> found = FoundIds(store_.get());
  EXPECT_THAT(found, testing::AnyOf(ElementsAreArray(UpTo(10)), ElementsAreArray(UpTo(11))));
  EXPECT_GT(store_->highest_id(), 11u);
  Accept(12, 12);
}

TEST_P(PowerCutStoreTest, FullDiskRefusesAndResumesAlone) {  // V5.
  options_.memtable_octets = 1 << 20;
  MustOpen();
  Accept(1, 10);
  file_system_->SetFull(true);
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(store_.get(), Accepted(11))));
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(store_.get(), Accepted(12))));
  EXPECT_TRUE(store_->ReadMessage(QueueId{1}).ok());
  EXPECT_EQ(*store_->ReadChunk(QueueId{10}, 0), BodyOf(10));
  file_system_->SetFull(false);
  logger_.WaitFor("the queue can be written again");
  Accept(13, 20);
  CutPower();
  MustOpen();
  std::vector<uint64_t> expected = UpTo(10);
  for (uint64_t id = 13; id <= 20; ++id) expected.push_back(id);
  EXPECT_THAT(FoundIds(store_.get()), testing::IsSupersetOf(expected));
}

// On a full disk the same removals are tried again and again.
TEST_P(PowerCutStoreTest, WhatAFullDiskRefusedIsNotCounted) {
  MustOpen();
  const auto* store = static_cast<const RocksdbStore*>(store_.get());
  EXPECT_EQ(store->LiveRecords(Family::kMessage), std::nullopt) << "not counted yet";
  EXPECT_THAT(FoundIds(store_.get()), testing::IsEmpty());
  Accept(1, 10);
  EXPECT_EQ(store->LiveRecords(Family::kMessage), 10u);
  WriteSet removal;
  removal.RemoveMessage(QueueId{1}, 1, {}, /*has_retry=*/false);
  file_system_->SetFull(true);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(CommitOne(store_.get(), removal).ok());
  EXPECT_EQ(store->LiveRecords(Family::kMessage), 10u);
  file_system_->SetFull(false);
  logger_.WaitFor("the queue can be written again");
  ASSERT_TRUE(CommitOne(store_.get(), removal).ok());
  EXPECT_EQ(store->LiveRecords(Family::kMessage), 9u);
  EXPECT_EQ(store->LiveRecords(Family::kBody), 9u);
}

TEST_P(PowerCutStoreTest, FullDiskAndPowerCutLoseNothing) {
  MustOpen();
  Accept(1, 10);
  file_system_->SetFull(true);
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(store_.get(), Accepted(11))));
  CutPower();
  file_system_->SetFull(false);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

TEST_P(PowerCutStoreTest, NothingOfRocksdbsOwnLogIsInTheQueue) {  // V5.
  MustOpen();
  Accept(1, 10);
  Close();
  MustOpen();
  for (const auto& entry : std::filesystem::directory_iterator(DatabaseFile(""))) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("LOG")) << entry.path();
  }
}

TEST_P(PowerCutStoreTest, ReadOnlyFileSystemIsRefusedAtStart) {  // V6.
  MustOpen();
  Accept(1, 10);
  Close();
  file_system_->SetReadOnly(true);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("read-only file system"));
  file_system_->SetReadOnly(false);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

TEST_P(PowerCutStoreTest, FileSystemThatBecomesReadOnlyEndsTheStore) {
  MustOpen();
  Accept(1, 10);
  file_system_->SetReadOnly(true);
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(store_.get(), Accepted(11))));
  Close();
  file_system_->SetReadOnly(false);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), testing::IsSupersetOf(UpTo(10)));
}

// A put and its SingleDelete that meet in the memtables never reach a table.
TEST_P(PowerCutStoreTest, HealthyQueueLeavesNothingInTables) {
  options_.log_reserve_octets = 0;  // A page for each commit is more than these messages have.
  options_.memtable_octets = 1 << 20;
  MustOpen();
  uint64_t octets = 0;
  for (uint64_t id = 1; id <= 5000; ++id) {
    const WriteSet accepted = Accepted(id);
    octets += accepted.octets();
    ASSERT_TRUE(CommitOne(store_.get(), accepted).ok());
    Remove(id);
  }
  uint64_t table_octets = 0;
  for (const std::string& table : DatabaseFiles(".sst")) {
    table_octets += std::filesystem::file_size(table);
  }
  EXPECT_LT(table_octets, octets / 50);
  // The logs were given up: flushes took place, so the tables could have been large.
  uint64_t log_octets = 0;
  for (const std::string& log : DatabaseFiles(".log")) {
    log_octets += std::filesystem::file_size(log);
  }
  EXPECT_LT(log_octets, octets);
  Close();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), IsEmpty());
  EXPECT_GT(store_->highest_id(), 5000u);
}

}  // namespace
}  // namespace mailrace::queue
