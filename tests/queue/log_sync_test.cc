#include "queue/rocksdb_store_log_sync.h"

#include <thread>

#include "gtest/gtest.h"

namespace mailrace::queue {
namespace {

class LogSyncTest : public testing::Test {
 protected:
  // Log 7 is there, and its name on the disk.
  LogSyncTest() {
    sync_.Made(7);
    sync_.Named(7);
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

TEST_F(LogSyncTest, ALogWhoseNameIsNotSyncedMayBeGoneAfterACut) {
  sync_.Made(9);
  Expect();
  sync_.Appended(9);
  sync_.Synced(9);
  EXPECT_EQ(durable_, 0);
  sync_.Named(sync_.newest());
  sync_.Synced(9);
  EXPECT_EQ(durable_, 1);
}

TEST_F(LogSyncTest, TheSyncOfAnOlderLogSaysNothingOfTheNewest) {
  sync_.Made(9);
  sync_.Named(9);
  sync_.Named(7);  // Of a thread that began before.
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
  sync_.Forget();
  sync_.Synced(7);
  EXPECT_EQ(durable_, 0);
}

}  // namespace
}  // namespace mailrace::queue
