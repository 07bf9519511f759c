// What the store said to be durable is, at that moment; and whoever hears of it can read it
// (invariant I1; Store::set_on_durable).

#include <semaphore>
#include <thread>

#include "base/random.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAreArray;

// With logs that grow, and with logs that are written over files which are there.
class DurableStoreTest : public RocksdbStoreTest, public testing::WithParamInterface<uint64_t> {
 protected:
  DurableStoreTest() {
    options_.log_reserve_octets = GetParam();
    options_.memtable_octets = 256 << 10;  // A new log every sixty messages or so.
  }
};

INSTANTIATE_TEST_SUITE_P(Logs, DurableStoreTest, testing::Values(0, 256 << 10),
                         [](const auto& info) {
                           return info.param == 0 ? "Grow" : "AreWrittenOver";
                         });

TEST_P(DurableStoreTest, EachGroupIsSaidToBeDurableOnce) {
  MustOpen();
  int said = 0;
  store_->set_on_durable([&said] { ++said; });
  Accept(1, 300);
  EXPECT_EQ(said, 300);
  store_->set_on_durable(nullptr);
  Accept(301, 301);
  EXPECT_EQ(said, 300);
}

// The power goes within the word itself: nothing that RocksDB does afterwards counts.
TEST_P(DurableStoreTest, ACutAtTheWordLosesNothing) {
  SeededRandom random(3);
  uint64_t last = 0;
  for (int cut = 0; cut < 60; ++cut) {
    MustOpen();
    ASSERT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(last))) << "cut " << cut;
    const uint64_t commits = 1 + random.Below(cut % 2 == 0 ? 8 : 150);
    uint64_t said = 0;
    store_->set_on_durable([&] {
      if (++said == commits) file_system_->CutPower(&random);
    });
    for (uint64_t i = 0; i < commits; ++i) {
      CommitOne(store_.get(), Accepted(last + i + 1)).IgnoreError();
    }
    ASSERT_EQ(said, commits);
    last += commits;
    Close();
    file_system_->PowerOn();
  }
}

// A new log's name is not on the disk yet when its first records are.
TEST_P(DurableStoreTest, ACutAtTheFirstWordInANewLogLosesNothing) {
  uint64_t last = 0;
  for (int cut = 0; cut < 5; ++cut) {
    MustOpen();
    ASSERT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(last))) << "cut " << cut;
    bool gone = false;
    std::string log;
    store_->set_on_durable([&] {
      if (gone) return;
      ++last;
      const std::string newest = DatabaseFiles(".log").back();
      gone = !log.empty() && newest != log;
      log = newest;
      if (gone) file_system_->CutPower();
    });
    for (int i = 0; i < 1000 && !gone; ++i) {
      CommitOne(store_.get(), Accepted(last + 1)).IgnoreError();
    }
    ASSERT_TRUE(gone);
    Close();
    file_system_->PowerOn();
  }
}

TEST_P(DurableStoreTest, AFailedSyncIsNotSaidToBeDurable) {
  MustOpen();
  Accept(1, 3);
  int said = 0;
  store_->set_on_durable([&said] { ++said; });
  file_system_->FailLogSyncs(1);
  EXPECT_TRUE(absl::IsDataLoss(CommitOne(store_.get(), Accepted(4))));
  EXPECT_EQ(said, 0);
}

TEST_P(DurableStoreTest, OnAFullDiskNothingIsSaidToBeDurable) {
  MustOpen();
  Accept(1, 3);
  int said = 0;
  store_->set_on_durable([&said] { ++said; });
  file_system_->SetFull(true);
  EXPECT_TRUE(absl::IsResourceExhausted(CommitOne(store_.get(), Accepted(4))));
  EXPECT_EQ(said, 0);
}

// Who hears that a message is durable may look for it at once: a "not found" would be taken for
// its end.
TEST_P(DurableStoreTest, WhoeverHearsOfAMessageCanReadIt) {
  MustOpen();
  uint64_t id = 0;
  std::binary_semaphore ask(0);
  std::binary_semaphore asking(0);
  std::binary_semaphore answered(0);
  constexpr uint64_t kLast = 100;
  std::thread reader([&] {
    for (uint64_t i = 1; i <= kLast; ++i) {
      ask.acquire();
      asking.release();
      const absl::StatusOr<std::string> body = store_->ReadChunk(QueueId{id}, 0);
      const absl::StatusOr<RecoveredMessage> message = store_->ReadMessage(QueueId{id});
      uint64_t visited = 0;
      const auto scanned = store_->Scan(
          QueueId{id}, 1, [&visited](QueueId found, const auto&) { visited = found.value; });
      EXPECT_TRUE(body.ok()) << body.status();
      EXPECT_TRUE(message.ok()) << message.status();
      EXPECT_TRUE(scanned.ok()) << scanned.status();
      EXPECT_EQ(visited, id);
      answered.release();
    }
  });
  store_->set_on_durable([&] {
    ask.release();
    asking.acquire();
    for (int i = 0; i < 20; ++i) std::this_thread::yield();  // As long as it could look in vain.
  });
  for (id = 1; id <= kLast; ++id) {
    ASSERT_TRUE(CommitOne(store_.get(), Accepted(id)).ok());
    answered.acquire();
  }
  reader.join();
}

}  // namespace
}  // namespace mailrace::queue
