// A queue that an older version wrote is taken over; one that we wrote is refused by it.

#include <fstream>

#include "queue/checksum.h"
#include "queue/record_format.h"
#include "queue/rocksdb_store_marker.h"
#include "rocksdb/db.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class UpgradeStoreTest : public RocksdbStoreTest {
 protected:
  // Makes of the closed queue what a version with format 1 would have left: without the
  // families and rows that came later, and with its marker.
  void MakeFormat1() {
    rocksdb::Options options;
    std::vector<std::string> names;
    const std::string path = options_.directory + "/queue";
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    families.reserve(names.size());
    for (const std::string& name : names) families.emplace_back(name, options);
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path, families, &handles, &db).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      if (handle->GetName() == "intake") {
        ASSERT_TRUE(db->DropColumnFamily(handle).ok());
      }
    }
    ASSERT_TRUE(db->Delete(rocksdb::WriteOptions(), "bodies-owned").ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    }
    ASSERT_TRUE(db->Close().ok());
    delete db;
    StoreMarker marker = *ParseMarker(Marker());
    marker.format = 1;
    std::ofstream(MarkerPath(options_.directory)) << FormatMarker(marker);
  }
  // Writes a record past the closed store.
  void PutRaw(const std::string& family, const std::string& key, const std::string& value) {
    rocksdb::Options options;
    std::vector<std::string> names;
    const std::string path = options_.directory + "/queue";
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, options);
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path, families, &handles, &db).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      if (handle->GetName() == family) {
        ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), handle, key, value).ok());
      }
      ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    }
    ASSERT_TRUE(db->Close().ok());
    delete db;
  }
  std::string Marker() const { return ReadFile(MarkerPath(options_.directory)); }
};

TEST_F(UpgradeStoreTest, QueueOfFormat1IsTakenOverAndItsOrphanedBodiesGo) {
  MustOpen();
  Accept(1, 3);
  WriteSet orphan;  // As format 1 began an intake: nothing tells of it.
  orphan.PutChunk(QueueId{2000}, 0, std::make_shared<const std::string>("begun"));
  ASSERT_TRUE(CommitOne(store_.get(), orphan).ok());
  Close();
  MakeFormat1();

  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1, 2, 3));
  EXPECT_TRUE(absl::IsNotFound(store_->ReadChunk(QueueId{2000}, 0).status()));
  EXPECT_THAT(Marker(), HasSubstr("format 3\n"));
  EXPECT_THAT(logger_.lines(), HasSubstr("queue of format 1 becomes one of format 3: an older "
                                         "version of this program cannot open it"));
  Accept(4, 4);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1, 2, 3, 4));
}

TEST_F(UpgradeStoreTest, BodiesAreWalkedOnceAndNeverAgain) {
  MustOpen();
  Accept(1, 1);
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1));
  // A start that walked the bodies would find this one and remove it.
  WriteSet unknown;
  unknown.PutChunk(QueueId{5}, 0, std::make_shared<const std::string>("of nobody"));
  ASSERT_TRUE(CommitOne(store_.get(), unknown).ok());
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1));
  EXPECT_TRUE(store_->ReadChunk(QueueId{5}, 0).ok());
}

TEST_F(UpgradeStoreTest, RecordOfANewerVersionIsRefusedAlsoWhereLossIsAccepted) {
  MustOpen();
  Accept(1, 3);
  Close();
  std::string record = EncodeEnvelope(Envelope{.id = QueueId{2}});
  record.resize(record.size() - 4);
  record[0] = 9;
  const uint32_t checksum = Crc32c(record);
  for (int i = 0; i < 4; ++i) record.push_back(static_cast<char>(checksum >> (8 * i)));
  PutRaw("message", EncodeKey(QueueId{2}), record);
  for (const bool accept_loss : {false, true}) {
    options_.accept_loss = accept_loss;
    MustOpen();
    const absl::Status status = store_->Recover([](const RecoveredMessage&) {});
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr(options_.directory));
    EXPECT_THAT(Message(status), HasSubstr(QueueId{2}.ToString()));
    EXPECT_THAT(Message(status), HasSubstr("version 9"));
    Close();
  }
}

TEST_F(UpgradeStoreTest, RecoveryThatIsAbandonedEndsAtOnceAndHarmsNothing) {
  MustOpen();
  Accept(1, 5);
  MustOpen();
  int seen = 0;
  const absl::Status status = store_->Recover([&](const RecoveredMessage&) {
    if (++seen == 2) store_->AbandonRecovery();
  });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(seen, 2);
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAre(1, 2, 3, 4, 5));
}

// It knows format 1 alone; the marker is the first thing that it looks at.
TEST_F(UpgradeStoreTest, MarkerTellsAnOlderVersionToKeepOff) {
  MustOpen();
  EXPECT_THAT(Marker(), HasSubstr("\nformat 3\n"));
}

TEST_F(UpgradeStoreTest, FamilyOfTheFirstFormatThatIsMissingIsDamage) {
  MustOpen();
  Accept(1, 3);
  Close();
  rocksdb::Options options;
  std::vector<std::string> names;
  const std::string path = options_.directory + "/queue";
  ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.reserve(names.size());
  for (const std::string& name : names) families.emplace_back(name, options);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, path, families, &handles, &db).ok());
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    if (handle->GetName() == "retry") {
      ASSERT_TRUE(db->DropColumnFamily(handle).ok());
    }
    ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  delete db;
  EXPECT_TRUE(absl::IsDataLoss(Open()));
}

}  // namespace
}  // namespace mailrace::queue
