// Mail that is gone leaves the disk, also when nothing is written any more.

#include <chrono>
#include <thread>

#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

class SpaceStoreTest : public testing::Test {
 protected:
  static constexpr uint64_t kMessages = 200;
  static constexpr uint32_t kChunks = 32;
  static constexpr uint64_t kContentOctets = kMessages * kChunks * 1000;

  void Open() {
    store_.reset();
    RocksdbStoreOptions options;
    options.directory = temporary_ / "spool";
    options.memtable_octets = 1 << 20;
    options.space_interval = absl::Milliseconds(20);
    options.dead_octets_min = 1 << 20;
    options.logger = &logger_;
    auto store = OpenRocksdbStore(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    ASSERT_TRUE(store_->Recover([](const RecoveredMessage&) {}).ok());
  }
  void Fill() {
    for (uint64_t id = 1; id <= kMessages; ++id) {
      ASSERT_TRUE(CommitOne(store_.get(), Accepted(id, kChunks)).ok());
    }
  }
  void RemoveFrom(uint64_t first) {
    for (uint64_t id = first; id <= kMessages; ++id) {
      WriteSet set;
      set.RemoveMessage(QueueId{id}, kChunks, {}, /*has_retry=*/false);
      ASSERT_TRUE(CommitOne(store_.get(), set).ok());
    }
  }
  uint64_t TableOctets() const {
    uint64_t octets = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(temporary_ / "spool")) {
      std::error_code gone;  // By a compaction, just now.
      const uint64_t size = entry.path().extension() == ".sst" ? entry.file_size(gone) : 0;
      if (!gone) octets += size;
    }
    return octets;
  }

  TemporaryDirectory temporary_;
  CapturingLogger logger_;
  std::unique_ptr<Store> store_;
};

TEST_F(SpaceStoreTest, ADrainedQueueGivesItsSpaceBack) {
  Open();
  Fill();
  RemoveFrom(1);
  logger_.WaitFor("space of mail that is gone");
  while (TableOctets() > kContentOctets / 4) std::this_thread::yield();
  EXPECT_THAT(FoundIds(store_.get()), testing::IsEmpty());
}

TEST_F(SpaceStoreTest, AlsoOneThatDrainedBeforeTheStart) {
  Open();
  Fill();
  RemoveFrom(1);
  Open();
  while (TableOctets() > kContentOctets / 4) std::this_thread::yield();
}

TEST_F(SpaceStoreTest, WhatLivesStaysAndIsWhole) {
  Open();
  Fill();
  // The oldest stay, as mail for a relay that is down.
  RemoveFrom(41);
  logger_.WaitFor("space of mail that is gone");
  while (TableOctets() > kContentOctets / 2) std::this_thread::yield();
  EXPECT_EQ(FoundIds(store_.get()), UpTo(40));
  Open();
  EXPECT_EQ(FoundIds(store_.get()), UpTo(40));
}

}  // namespace
}  // namespace mailrace::queue
