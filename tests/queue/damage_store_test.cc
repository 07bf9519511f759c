// A queue that comes back short, damaged or empty is refused with the file and the gap;
// with --accept-loss it goes on and keeps a copy (reliability.md V2, V3, 5.1).

#include <sys/stat.h>

#include "base/random.h"
#include "fmt/format.h"
#include "queue/log_frame.h"
#include "queue/rocksdb_store_marker.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Whether anybody has the database open when it is said that loss is accepted.
class LockProbe final : public Logger {
 public:
  LockProbe(rocksdb::FileSystem* file_system, std::string lock)
      : file_system_(file_system), lock_(std::move(lock)) {}
  void Log(Severity, std::string_view, std::string line) override {
    if (line.find("going on, loss is accepted") == line.npos) return;
    ++salvages;
    rocksdb::FileLock* held = nullptr;
    free_each_time &= file_system_->LockFile(lock_, {}, &held, nullptr).ok();
    if (held != nullptr) file_system_->UnlockFile(held, {}, nullptr).PermitUncheckedError();
  }
  int salvages = 0;
  bool free_each_time = true;

 private:
  rocksdb::FileSystem* const file_system_;
  const std::string lock_;
};

// With logs that grow, and with logs that are written over files which are there.
class DamagedStoreTest : public RocksdbStoreTest, public testing::WithParamInterface<uint64_t> {
 protected:
  DamagedStoreTest() { options_.log_reserve_octets = GetParam(); }

  void AcceptAndClose(uint64_t last) {
    MustOpen();
    Accept(1, last);
    Close();
  }
  void ExpectRefusal(const std::string& naming) {
    for (int attempt = 1; attempt <= 2; ++attempt) {  // The second start is no wiser.
      const absl::Status status = Open();
      EXPECT_TRUE(absl::IsDataLoss(status)) << "attempt " << attempt << ": " << status;
      EXPECT_THAT(Message(status), HasSubstr(naming));
      EXPECT_THAT(Message(status), HasSubstr("--accept-loss"));
    }
  }
  // That of the bodies, by far.
  std::string LargestTable() const {
    std::string largest;
    for (const std::string& table : DatabaseFiles(".sst")) {
      if (largest.empty() ||
          std::filesystem::file_size(table) > std::filesystem::file_size(largest)) {
        largest = table;
      }
    }
    return largest;
  }
  // Opens with loss, and then as any queue; returns what is left.
  std::vector<uint64_t> AcceptLoss() {
    options_.accept_loss = true;
    const absl::Status status = Open();
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return {};
    const std::vector<uint64_t> left = FoundIds(store_.get());
    EXPECT_THAT(DamagedCopies(), SizeIs(1));
    EXPECT_NE(store_->accepted_loss(), "");
    options_.accept_loss = false;
    const absl::Status again = Open();
    EXPECT_TRUE(again.ok()) << again;
    if (again.ok()) {
      EXPECT_EQ(store_->accepted_loss(), "");
    }
    if (again.ok()) {
      EXPECT_EQ(FoundIds(store_.get()), left);
    }
    return left;
  }
};

INSTANTIATE_TEST_SUITE_P(Logs, DamagedStoreTest, testing::Values(0, 256 << 10),
                         [](const auto& info) {
                           return info.param == 0 ? "Grow" : "AreWrittenOver";
                         });

TEST_P(DamagedStoreTest, FlippedBitInTheMiddleOfTheLogIsRefused) {  // V2.
  AcceptAndClose(500);
  const std::string log = MainLog();
  FlipBit(log, std::filesystem::file_size(log) / 2);
  ExpectRefusal(log);
}

TEST_P(DamagedStoreTest, FlippedBitInTheMiddleOfTheLogWithLossAccepted) {
  AcceptAndClose(500);
  const std::string log = MainLog();
  FlipBit(log, std::filesystem::file_size(log) / 2);
  const std::vector<uint64_t> left = AcceptLoss();
  EXPECT_GE(left.size(), 200u);
  EXPECT_LT(left.size(), 500u);
  EXPECT_THAT(left, ElementsAreArray(UpTo(left.size())));
  EXPECT_THAT(logger_.lines(), HasSubstr("records are missing"));
  EXPECT_THAT(logger_.lines(), HasSubstr(DamagedCopies().front()));
  // Ids of the lost messages are not used again.
  EXPECT_GT(store_->highest_id(), 500u);
  Accept(501, 510);
}

TEST_P(DamagedStoreTest, DamagedCopyHoldsTheDamagedLogAsItWas) {
  AcceptAndClose(500);
  const std::string log = MainLog();
  FlipBit(log, std::filesystem::file_size(log) / 2);
  const std::string before = ReadFile(log);
  AcceptLoss();
  const std::string copy =
      DamagedCopies().front() + "/" + std::filesystem::path(log).filename().string();
  EXPECT_EQ(ReadFile(copy), before);
  EXPECT_FALSE(ReadFile(DamagedCopies().front() + "/marker").empty());
}

TEST_P(DamagedStoreTest, LastRecordCutShortBehindTheMarkerIsRefusedWithTheGap) {  // V3.
  AcceptAndClose(500);
  const std::string log = MainLog();
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 500);
  ExpectRefusal("(4 missing)");  // Body, message, next id, count.
  ExpectRefusal(log);
}

TEST_P(DamagedStoreTest, LastRecordCutShortAheadOfTheMarkerIsAnUnsyncedTail) {  // V3.
  MustOpen();
  Accept(1, 499);
  Close();
  MustOpen();
  Accept(500, 500);
  CutPower();  // The marker says 499.
  const std::string log = DatabaseFiles(".log").back();
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 500);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(499)));
}

TEST_P(DamagedStoreTest, GarbageOverTheLastRecordIsRefusedAndOperatorLosesOne) {  // V3.
  AcceptAndClose(500);
  const std::string log = MainLog();
  std::string octets = ReadFile(log);
  // A frame is filled up to a page, and damage there does no harm.
  const size_t garbage = GetParam() == 0 ? 300 : kFrameAlignment;
  octets.replace(octets.size() - garbage, garbage, std::string(garbage, '\x5a'));
  WriteFile(log, octets);
  ExpectRefusal(log);
  EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(499)));
}

TEST_P(DamagedStoreTest, GarbageAfterTheLastRecordLosesNothing) {  // V3.
  AcceptAndClose(500);
  const std::string log = MainLog();
  SeededRandom random(3);
  std::string garbage(300, 0);
  for (char& octet : garbage) octet = static_cast<char>(random.NextByte());
  WriteFile(log, ReadFile(log) + garbage);
  const absl::Status status = Open();
  // Random octets may look like a record that is damaged; then it is the operator's case.
  if (!status.ok()) {
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(500)));
    return;
  }
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(500)));
}

TEST_P(DamagedStoreTest, LogThatIsGoneIsRefused) {
  AcceptAndClose(100);
  for (const std::string& log : DatabaseFiles(".log")) std::filesystem::remove(log);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Message(status), testing::AnyOf(HasSubstr("missing"), HasSubstr("Missing")));
}

TEST_P(DamagedStoreTest, OlderLogThatIsGoneIsRefusedAlthoughNewerOnesAreWhole) {
  options_.memtable_octets = 256 << 10;  // Several logs in one run.
  AcceptAndClose(150);
  ASSERT_GE(DatabaseFiles(".log").size(), 2u);
  std::filesystem::remove(DatabaseFiles(".log").front());
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_P(DamagedStoreTest, LogsOfTheLastRunBecomeTablesAtStart) {
  AcceptAndClose(100);
  const std::string log = MainLog();
  MustOpen();
  EXPECT_FALSE(std::filesystem::exists(log));
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(100)));
}

TEST_P(DamagedStoreTest, MissingCurrentIsRefusedAndNoEmptyQueueMade) {
  AcceptAndClose(100);
  std::filesystem::remove(DatabaseFile("CURRENT"));
  ExpectRefusal(DatabaseFile("CURRENT"));
  EXPECT_FALSE(std::filesystem::exists(DatabaseFile("CURRENT")));
}

TEST_P(DamagedStoreTest, MissingCurrentWithLossAcceptedLosesNothing) {
  AcceptAndClose(100);
  std::filesystem::remove(DatabaseFile("CURRENT"));
  EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(100)));
}

TEST_P(DamagedStoreTest, WithoutManifestWhatIsInTablesIsSalvaged) {
  AcceptAndClose(100);
  MustOpen();  // Now in tables.
  Close();
  for (const auto& entry : std::filesystem::directory_iterator(DatabaseFile(""))) {
    const std::string name = entry.path().filename().string();
    if (name == "CURRENT" || name.starts_with("MANIFEST")) std::filesystem::remove(entry.path());
  }
  ExpectRefusal(DatabaseFile("CURRENT"));
  EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(100)));
}

TEST_P(DamagedStoreTest, DatabaseThatIsGoneIsRefusedBesideItsMarker) {
  AcceptAndClose(100);
  std::filesystem::remove_all(DatabaseFile(""));
  ExpectRefusal("no empty queue is created beside an old one");
  EXPECT_THAT(AcceptLoss(), IsEmpty());
  EXPECT_GT(store_->highest_id(), 100u);
}

TEST_P(DamagedStoreTest, RecordsWithoutCurrentAndMarkerAreRefused) {
  AcceptAndClose(100);
  std::filesystem::remove(DatabaseFile("CURRENT"));
  std::filesystem::remove(MarkerPath(options_.directory));
  ExpectRefusal("no empty queue is created beside an old one");
}

TEST_P(DamagedStoreTest, MissingMarkerIsRefused) {
  AcceptAndClose(100);
  std::filesystem::remove(MarkerPath(options_.directory));
  ExpectRefusal(MarkerPath(options_.directory));
  EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(100)));
}

TEST_P(DamagedStoreTest, DamagedMarkerIsRefused) {
  AcceptAndClose(100);
  FlipBit(MarkerPath(options_.directory), 60);
  ExpectRefusal(MarkerPath(options_.directory));
  EXPECT_THAT(AcceptLoss(), ElementsAreArray(UpTo(100)));
}

TEST_P(DamagedStoreTest, MarkerOfAnotherQueueIsRefused) {
  AcceptAndClose(100);
  ASSERT_TRUE(WriteMarker(file_system_.get(), options_.directory, {"another", 1, 1}).ok());
  ExpectRefusal("another queue");
}

TEST_P(DamagedStoreTest, OlderCopyOfTheDatabaseIsRefused) {
  AcceptAndClose(50);
  const std::string copy = temporary_ / "backup";
  std::filesystem::copy(DatabaseFile(""), copy, std::filesystem::copy_options::recursive);
  MustOpen();
  Accept(51, 60);
  Close();
  std::filesystem::remove_all(DatabaseFile(""));
  std::filesystem::copy(copy, DatabaseFile(""), std::filesystem::copy_options::recursive);
  ASSERT_EQ(::chmod(DatabaseFile("").c_str(), 0700), 0);
  ExpectRefusal("missing");
}

TEST_P(DamagedStoreTest, FormatOfTheFutureIsRefusedWhateverTheOperatorAccepts) {
  AcceptAndClose(10);
  const std::string marker = ReadFile(MarkerPath(options_.directory));
  std::string future = marker;
  const std::string now = fmt::format("format {}", kQueueFormat);
  const std::string later = fmt::format("format {}", kQueueFormat + 1);
  future.replace(future.find(now), now.size(), later);
  WriteFile(MarkerPath(options_.directory), future);
  for (const bool accept_loss : {false, true}) {
    options_.accept_loss = accept_loss;
    const absl::Status status = Open();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr(later));
  }
  EXPECT_THAT(DamagedCopies(), IsEmpty());
  WriteFile(MarkerPath(options_.directory), marker);
  options_.accept_loss = false;
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

TEST_P(DamagedStoreTest, DamagedTableIsNamedAndTheOthersAreRead) {
  options_.memtable_octets = 256 << 10;
  AcceptAndClose(1000);
  const std::string largest = LargestTable();
  ASSERT_FALSE(largest.empty());
  FlipBit(largest, 200);
  const absl::Status opened = Open();
  if (!opened.ok()) {  // Noticed at once.
    EXPECT_TRUE(absl::IsDataLoss(opened)) << opened;
    EXPECT_THAT(Message(opened), HasSubstr(".sst"));
    return;
  }
  int damaged = 0;
  int whole = 0;
  for (uint64_t id = 1; id <= 1000; ++id) {
    const auto body = store_->ReadChunk(QueueId{id}, 0);
    if (body.ok()) {
      EXPECT_EQ(*body, BodyOf(id));
      ++whole;
      continue;
    }
    ++damaged;
    EXPECT_TRUE(absl::IsDataLoss(body.status())) << body.status();
    EXPECT_THAT(Message(body.status()), HasSubstr(largest));
  }
  EXPECT_GT(damaged, 0);
  EXPECT_GT(whole, 900);
}

// A start reads no bodies: only when damage was accepted are they looked at. Otherwise the
// missing body is noticed when it is to be sent (ShardTest).
TEST_P(DamagedStoreTest, MessageWithoutItsBodyIsHeldWhenLossIsAccepted) {
  options_.accept_loss = true;
  MustOpen();
  Accept(1, 3);
  WriteSet loss;
  loss.RemoveChunks(QueueId{2}, 1);
  ASSERT_TRUE(CommitOne(store_.get(), loss).ok());
  std::vector<uint64_t> held;
  ASSERT_TRUE(store_
                  ->Recover([&](RecoveredMessage message) {
                    if (message.has_retry && message.retry.held) {
                      held.push_back(message.envelope.id.value);
                      EXPECT_EQ(message.retry.last_reason,
                                "1 of 1 body records are missing from the queue");
                    }
                  })
                  .ok());
  EXPECT_THAT(held, testing::ElementsAre(2));
  EXPECT_THAT(logger_.lines(), HasSubstr("000000000000002: held: 1 of 1 body records"));
}

// The tables of a queue of 1000 messages; the bodies' is the largest by far, the envelopes'
// comes next.
TEST_P(DamagedStoreTest, DamagedEnvelopesAreRefusedAndWithLossAcceptedTheOthersGoOn) {
  AcceptAndClose(1000);
  MustOpen();
  Close();
  std::vector<std::string> tables = DatabaseFiles(".sst");
  std::sort(tables.begin(), tables.end(), [](const std::string& a, const std::string& b) {
    return std::filesystem::file_size(a) > std::filesystem::file_size(b);
  });
  ASSERT_GT(tables.size(), 1u);
  FlipBit(tables[1], std::filesystem::file_size(tables[1]) / 3);

  MustOpen();
  const absl::Status scanned = store_->Recover([](RecoveredMessage) {});
  EXPECT_TRUE(absl::IsDataLoss(scanned)) << scanned;
  EXPECT_THAT(Message(scanned), HasSubstr(tables[1]));
  EXPECT_THAT(Message(scanned), HasSubstr("--accept-loss"));
  Close();

  const std::vector<uint64_t> left = AcceptLoss();
  EXPECT_GT(left.size(), 800u);  // A block of 16 KiB is gone.
  EXPECT_LT(left.size(), 1000u);
  // Each of the others is named by what is left of it.
  uint64_t given_up = 0;
  for (uint64_t id = 1; id <= 1000; ++id) {
    if (std::binary_search(left.begin(), left.end(), id)) continue;
    EXPECT_THAT(logger_.lines(), HasSubstr(QueueId{id}.ToString() + ": given up"));
    ++given_up;
  }
  EXPECT_THAT(logger_.lines(), HasSubstr(fmt::format("{} messages are given up", given_up)));
  EXPECT_GT(store_->highest_id(), 1000u);
  Accept(1001, 1010);
}

TEST_P(DamagedStoreTest, DamagedBodiesWithLossAcceptedAreHeld) {
  AcceptAndClose(200);
  MustOpen();
  Close();
  const std::string largest = LargestTable();
  FlipBit(largest, std::filesystem::file_size(largest) / 2);
  options_.accept_loss = true;
  MustOpen();
  uint64_t held = 0;
  uint64_t found = 0;
  ASSERT_TRUE(store_
                  ->Recover([&](RecoveredMessage message) {
                    ++found;
                    const bool whole = store_->ReadChunk(message.envelope.id, 0).ok();
                    EXPECT_EQ(message.has_retry && message.retry.held, !whole);
                    if (!whole) ++held;
                  })
                  .ok());
  EXPECT_EQ(found, 200u);
  EXPECT_GT(held, 0u);
  EXPECT_LT(held, 20u);  // A block of 16 KiB.
  EXPECT_THAT(DamagedCopies(), SizeIs(1));
}

// RocksDB deletes the logs of the last run behind its caller's back, once they are tables: a
// copy of files that come and go failed, and with it the start (seen on a busy machine).
TEST_P(DamagedStoreTest, NothingChangesTheDamagedFilesWhileTheyAreCopied) {
  AcceptAndClose(200);
  MustOpen();
  Close();
  FlipBit(LargestTable(), std::filesystem::file_size(LargestTable()) / 2);
  LockProbe probe(file_system_.get(), options_.directory + "/queue/LOCK");
  options_.logger = &probe;
  options_.accept_loss = true;
  MustOpen();
  EXPECT_EQ(probe.salvages, 1);
  EXPECT_TRUE(probe.free_each_time);
  Close();
}

}  // namespace
}  // namespace mailrace::queue
