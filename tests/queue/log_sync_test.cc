#include "queue/rocksdb_store_log_sync.h"

#include <thread>

#include "gtest/gtest.h"

namespace mailrace::queue {
namespace {

class LogSyncTest : public testing::Test {
 protected:
  // Log 7 is there, and was written to.
  LogSyncTest() {
    sync_.Made(7);
    Write(7, true);
    durable_ = 0;
  }
  void Write(uint64_t log, bool succeeds) {
    Expect();
    sync_.Appended(log);
    sync_.Synced(log);
    sync_.Forget(succeeds);
  }
  void Expect() {
    sync_.Expect([this] { ++durable_; });
  }

  LogSync sync_;
  int durable_ = 0;
};

TEST_F(LogSyncTest, RecordsAreDurableOnceTheirLogIsSynced) {
  Expect();
  sync_.Appended(7);
  EXPECT_EQ(durable_, 0);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 1);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 1) << "said once";
}

TEST_F(LogSyncTest, ASyncBeforeTheRecordsSaysNothingOfThem) {
  Expect();
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0);
}

// RocksDB syncs the directory after the first write to a log, and gives the log up if it cannot.
TEST_F(LogSyncTest, NothingIsSaidInTheWritesUntilOneSucceeded) {
  sync_.Made(9);
  Write(9, false);
  EXPECT_EQ(durable_, 0);
  Write(9, true);
  EXPECT_EQ(durable_, 0);
  Write(9, true);
  EXPECT_EQ(durable_, 1);
}

TEST_F(LogSyncTest, TheSyncOfAnOlderLogSaysNothingOfTheNewest) {
  sync_.Made(9);
  Write(9, true);
  Expect();
  sync_.Appended(9);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0);
  sync_.Synced(9);
  EXPECT_EQ(durable_, 1);
}

TEST_F(LogSyncTest, WhatWasAppendedBeforeTheLogWasReplacedIsNotSaid) {
  Expect();
  sync_.Appended(7);
  sync_.Made(9);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0);
}

TEST_F(LogSyncTest, OtherThreadsAppendAndSyncForThemselves) {
  Expect();
  std::thread([this] {
    sync_.Appended(7);
    sync_.Synced(7);
  }).join();
  EXPECT_EQ(durable_, 0);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0) << "the records were another thread's";
}

TEST_F(LogSyncTest, NobodyIsToldWhoNoLongerExpects) {
  Expect();
  sync_.Appended(7);
  sync_.Forget(true);
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0);
}

}  // namespace
}  // namespace mailrace::queue
