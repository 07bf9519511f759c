// Logs that are written over files which are there: they hold what a growing log holds,
// whatever the power, the disk and earlier lives of the file do.

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/random.h"
#include "queue/log_frame.h"
#include "queue/rocksdb_store_log_reader.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uint64_t kReserve = 256 << 10;

class OverwriteStoreTest : public RocksdbStoreTest {
 protected:
  OverwriteStoreTest() { options_.log_reserve_octets = kReserve; }

  // Where the last frame of the log begins; all are a page long.
  static size_t LastFrame(const std::string& octets) {
    size_t last = 0;
    while (DecodeFrameHeader(octets.substr(last + kFrameAlignment, kSectorOctets))) {
      last += kFrameAlignment;
    }
    return last;
  }
  // RocksDB passes over records without length and type.
  static void ZeroLastRecordsHead(const std::string& log) {
    std::string octets = ReadFile(log);
    octets.replace(LastFrame(octets) + kFrameHeadOctets + 4, 3, 3, '\0');
    WriteFile(log, octets);
  }
  // Commits until RocksDB begins a new log.
  uint64_t AcceptUntilNextLog(uint64_t next) {
    const std::vector<std::string> before = DatabaseFiles(".log");
    while (DatabaseFiles(".log").back() == before.back()) {
      Accept(next, next);
      Remove(next++);
    }
    return next;
  }
};

TEST_F(OverwriteStoreTest, TheFirstLogTakesUpNoMoreThanItsReserve) {
  MustOpen();
  ASSERT_THAT(DatabaseFiles(".log"), SizeIs(1));
  const std::string log = DatabaseFiles(".log").front();
  EXPECT_EQ(std::filesystem::file_size(log), kReserve);
  Accept(1, 20);
  EXPECT_EQ(std::filesystem::file_size(log), kReserve);
  EXPECT_THAT(ReadFile(log), HasSubstr(BodyOf(1).substr(0, 300)));
  CutPower();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(20)));
}

TEST_F(OverwriteStoreTest, BehindItsReserveALogGrows) {
  MustOpen();
  const std::string log = DatabaseFiles(".log").front();
  Accept(1, 200);
  EXPECT_GT(std::filesystem::file_size(log), kReserve);
  CutPower();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(200)));
}

TEST_F(OverwriteStoreTest, ObsoleteLogsAreWrittenOver) {
  options_.memtable_octets = 256 << 10;
  MustOpen();
  uint64_t next = 1;
  bool kept = false;
  for (int log = 0; log < 20; ++log) {
    next = AcceptUntilNextLog(next);
    kept = kept || !DatabaseFiles(".spare").empty();
    ASSERT_LE(DatabaseFiles(".spare").size(), 4u);
  }
  EXPECT_TRUE(kept);
  const uint64_t last = next;
  Accept(last, last + 20);
  CutPower();
  MustOpen();
  std::vector<uint64_t> expected;
  for (uint64_t id = last; id <= last + 20; ++id) expected.push_back(id);
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(expected));
}

TEST_F(OverwriteStoreTest, SparesOfTheLastRunAreKept) {
  options_.memtable_octets = 256 << 10;
  MustOpen();
  uint64_t next = 1;
  while (DatabaseFiles(".spare").empty()) next = AcceptUntilNextLog(next);
  struct stat spare;
  ASSERT_EQ(::stat(DatabaseFiles(".spare").front().c_str(), &spare), 0);
  Close();
  MustOpen();
  std::vector<std::string> files = DatabaseFiles(".log");
  for (const std::string& file : DatabaseFiles(".spare")) files.push_back(file);
  EXPECT_TRUE(std::any_of(files.begin(), files.end(), [&](const std::string& file) {
    struct stat status;
    return ::stat(file.c_str(), &status) == 0 && status.st_ino == spare.st_ino;
  }));
}

// In the last block of a log RocksDB takes a record that seems to go on behind the end for one
// that a power cut made short.
TEST_F(OverwriteStoreTest, AFlippedBitInTheLengthOfTheLastRecordIsRefused) {
  MustOpen();
  Accept(1, 5);
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  // A frame for each commit behind the first start's; the record's length stands at octet 5 of it.
  const std::string octets = ReadFile(log);
  const size_t last = LastFrame(octets);
  const size_t body = octets.find(BodyOf(5).substr(0, 100), last);
  ASSERT_NE(body, octets.npos);
  const uint64_t record = last + kFrameHeadOctets;
  FlipBit(log, record + 5);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr(log));
}

TEST_F(OverwriteStoreTest, WithoutAReserveLogsGrowAndSparesGo) {
  options_.memtable_octets = 256 << 10;
  MustOpen();
  uint64_t next = 1;
  while (DatabaseFiles(".spare").empty()) next = AcceptUntilNextLog(next);
  Accept(next, next);
  Close();
  options_.log_reserve_octets = 0;
  MustOpen();
  EXPECT_THAT(DatabaseFiles(".spare"), IsEmpty());
  EXPECT_LT(std::filesystem::file_size(DatabaseFiles(".log").back()), kReserve);
  EXPECT_THAT(FoundIds(store_.get()), testing::ElementsAre(next));
}

TEST_F(OverwriteStoreTest, ASmallDiskIsNotTakenUp) {
  file_system_->SetFreeSpace(16 * kReserve - 1);
  MustOpen();
  EXPECT_LT(std::filesystem::file_size(DatabaseFiles(".log").front()), kReserve);
  Accept(1, 3);
  CutPower();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(3)));
}

// What was not synced may be there by any of its sectors, with older octets between them.
TEST_F(OverwriteStoreTest, TornWritesLoseNothingThatWasAcknowledged) {
  options_.memtable_octets = 256 << 10;
  SeededRandom random(11);
  std::set<uint64_t> owed;
  uint64_t next = 1;
  for (int cut = 0; cut < 60; ++cut) {
    MustOpen();
    ASSERT_THAT(FoundIds(store_.get()), testing::IsSupersetOf(owed)) << "cut " << cut;
    for (uint64_t step = random.Below(120); step > 0; --step) {
      if (owed.size() > 30) {
        Remove(*owed.begin());
        owed.erase(owed.begin());
      }
      Accept(next, next);
      owed.insert(next++);
    }
    // A message of several records, whose sync does not come back.
    file_system_->CutPowerAt(2);
    EXPECT_FALSE(CommitOne(store_.get(), Accepted(next++, 1 + random.Below(40))).ok());
    file_system_->CutPower(&random);
    store_.reset();
    file_system_->PowerOn();
  }
}

// Anywhere in the file: in what was written, behind it, in what only fills pages.
TEST_F(OverwriteStoreTest, AFlippedBitIsRefusedOrDoesNoHarm) {
  MustOpen();
  Accept(1, 30);
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  const std::filesystem::path kept = std::filesystem::path(options_.directory + ".kept");
  std::filesystem::copy(options_.directory, kept, std::filesystem::copy_options::recursive);
  SeededRandom random(5);
  int refused = 0;
  for (int flip = 0; flip < 150; ++flip) {
    store_.reset();
    std::filesystem::remove_all(options_.directory);
    std::filesystem::copy(kept, options_.directory, std::filesystem::copy_options::recursive);
    // Two of three where the messages are.
    const uint64_t octet = random.Below(flip % 3 == 0 ? kReserve : 31 * kFrameAlignment);
    FlipBit(log, octet);
    const absl::Status status = Open();
    if (status.ok()) {
      ASSERT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(30))) << "octet " << octet;
    } else {
      ++refused;
      ASSERT_TRUE(absl::IsDataLoss(status)) << status;
      ASSERT_THAT(Message(status), HasSubstr(log)) << "octet " << octet;
    }
  }
  EXPECT_GT(refused, 50) << "the others fell into what fills pages";
}

TEST_F(OverwriteStoreTest, ALogCutShortIsRefused) {
  MustOpen();
  Accept(1, 10);
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  std::filesystem::resize_file(log, kReserve - 500);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr(log));
  EXPECT_THAT(logger_.lines(), HasSubstr(log + ": cut short, it had 262144 octets"));
  options_.accept_loss = true;
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

// A frame in the middle that cannot even be recognised any more: those behind it are found, and
// say how much is missing.
TEST_F(OverwriteStoreTest, AFrameThatIsGoneIsRefusedAndTheOthersAreSalvaged) {
  MustOpen();
  Accept(1, 30);
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  std::string octets = ReadFile(log);
  octets.replace(10 * kFrameAlignment, kFrameAlignment, kFrameAlignment, '\0');
  WriteFile(log, octets);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr(log));
  options_.accept_loss = true;
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), testing::IsSupersetOf(UpTo(9)));
}

TEST_F(OverwriteStoreTest, ZerosOverTheLastRecordsHeadAreRefused) {
  MustOpen();
  Accept(1, 30);
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  ZeroLastRecordsHead(log);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(logger_.lines(), HasSubstr(log + ": a frame is damaged"));
}

// The marker cannot tell: it counts what the newer log holds.
TEST_F(OverwriteStoreTest, ZerosInALogThatIsNotTheLastAreRefused) {
  options_.memtable_octets = 256 << 10;
  options_.log_reserve_octets = 1 << 20;
  MustOpen();
  uint64_t next = 1;
  while (DatabaseFiles(".log").size() == 1) {
    Accept(next, next);
    ++next;
  }
  Accept(next, next);
  const std::vector<std::string> logs = DatabaseFiles(".log");
  Close();
  ZeroLastRecordsHead(logs[logs.size() - 2]);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

// Zeros where the first frame was: nothing says any more that the log is one of frames.
TEST_F(OverwriteStoreTest, AFirstFrameThatIsGoneIsRefused) {
  MustOpen();
  Accept(1, 5);  // All in RocksDB's first block.
  CutPower();
  const std::string log = DatabaseFiles(".log").front();
  std::string octets = ReadFile(log);
  octets.replace(0, kFrameAlignment, kFrameAlignment, '\0');
  WriteFile(log, octets);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(logger_.lines(), HasSubstr(log + ": a frame is missing at octet 0"));
}

// Senders choose what stands in a log of RocksDB's own.
TEST_F(OverwriteStoreTest, WhatAMailSaysMakesNoGrowingLogAFramedOne) {
  options_.log_reserve_octets = 0;
  MustOpen();
  std::string body;
  while (body.size() < 1000) body += "MRLOGF1\n";
  for (uint64_t id = 1; id <= 8; ++id) {
    WriteSet set;
    set.PutChunk(QueueId{id}, 0, std::make_shared<const std::string>(body.substr(id)));
    set.PutMessage(EnvelopeOf(id, 1));
    ASSERT_TRUE(CommitOne(store_.get(), set).ok());
  }
  CutPower();
  MustOpen();
  uint64_t found = 0;
  ASSERT_TRUE(store_->Recover([&](RecoveredMessage) { ++found; }).ok());
  EXPECT_EQ(found, 8u);
}

// A file that has nothing but zeros behind its log, and a disk that cannot read them any more.
class BadSector final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "BadSector"; }
  void Break(uint64_t octet) { octet_ = octet; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->NewRandomAccessFile(path, options, file, debug);
    if (status.ok() && path.ends_with(".log")) {
      *file = std::make_unique<File>(std::move(*file), octet_);
    }
    return status;
  }

 private:
  class File final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    File(std::unique_ptr<rocksdb::FSRandomAccessFile> file, uint64_t octet)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), octet_(octet) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t octets, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* scratch,
                           rocksdb::IODebugContext* debug) const override {
      if (offset <= octet_ && octet_ < offset + octets) {
        return rocksdb::IOStatus::IOError("Input/output error");
      }
      return FSRandomAccessFileOwnerWrapper::Read(offset, octets, options, result, scratch, debug);
    }

   private:
    const uint64_t octet_;
  };

  uint64_t octet_ = ~uint64_t{0};
};

TEST_F(OverwriteStoreTest, ABadSectorWhereNothingWasWrittenDoesNoHarm) {
  const auto disk = std::make_shared<BadSector>(rocksdb::FileSystem::Default());
  options_.file_system = disk;
  MustOpen();
  Accept(1, 5);
  Close();
  disk->Break(kReserve - 5000);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(5)));
}

// What the reader makes of a file: the log's octets, and what it says of damage.
class LogFrameReaderTest : public OverwriteStoreTest {
 protected:
  static std::string FrameOf(uint64_t life, uint64_t index, size_t octets) {
    FrameHeader header;
    header.log = 12;
    header.life = life;
    header.index = header.synced = index;
    header.position = index * octets;
    header.reserve = 16 * kFrameAlignment;
    std::string frame(FrameOctets(octets), '\0');
    EncodeFrame(header, std::string(octets, static_cast<char>('w' + life)), frame.data());
    return frame;
  }
  static void Put(size_t at, const std::string& octets, std::string* file) {
    file->replace(at, octets.size(), octets);
  }
  void Read(const std::string& content) {
    const std::string path = temporary_ / "000012.log";
    WriteFile(path, content);
    std::unique_ptr<LogFrameReader> reader;
    ASSERT_TRUE(LogFrameReader::Open(rocksdb::FileSystem::Default().get(), path, 12, &reader).ok());
    ASSERT_NE(reader, nullptr);
    std::string piece;
    do {
      ASSERT_TRUE(reader->Next(&piece).ok());
      octets_ += piece;
    } while (!piece.empty());
    damage_ = reader->damage();
  }

  std::string octets_;
  std::string damage_;
};

// Its number was given again after a power cut, and a second one tore its first frame: what the
// first life left behind that is not taken for a part of it.
TEST_F(LogFrameReaderTest, OctetsOfALostLifeOfTheSameNumberDoNotCount) {
  std::string file(16 * kFrameAlignment, 'o');
  Put(0, FrameOf(/*life=*/1, 0, 6000), &file);
  Put(0, SpareMark(2), &file);
  Put(0, FrameOf(/*life=*/2, 0, 6000).substr(0, kFrameAlignment), &file);
  Read(file);
  EXPECT_EQ(octets_, "");
  EXPECT_EQ(damage_, "");
}

TEST_F(LogFrameReaderTest, BehindASpareMarkNoFrameOfAnotherLifeCounts) {
  std::string file(16 * kFrameAlignment, 'o');
  for (uint64_t i = 0; i < 8; ++i) Put(i * kFrameAlignment, FrameOf(1, i, 1000), &file);
  Put(0, SpareMark(2), &file);
  Read(file);
  EXPECT_EQ(octets_, "");
  EXPECT_EQ(damage_, "");
}

// The disk said that it had written the first frame.
TEST_F(LogFrameReaderTest, FramesOfTheMarkedLifeMissTheirFirst) {
  std::string file(16 * kFrameAlignment, 'o');
  for (uint64_t i = 0; i < 8; ++i) Put(i * kFrameAlignment, FrameOf(1, i, 1000), &file);
  Put(0, SpareMark(1), &file);
  Read(file);
  EXPECT_THAT(damage_, HasSubstr("a frame is missing at octet 0"));
  EXPECT_EQ(octets_.substr(1000, 7000), std::string(7000, 'x'));
}

}  // namespace
}  // namespace mailrace::queue
