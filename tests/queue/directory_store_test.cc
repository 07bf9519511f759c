// Whose directory it is, and who may open it.

#include <sys/stat.h>
#include <unistd.h>

#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

using DirectoryStoreTest = RocksdbStoreTest;

mode_t ModeOf(const std::string& path) {
  struct stat status = {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

TEST_F(DirectoryStoreTest, IsMadeForItsOwnerAlone) {
  options_.directory = temporary_ / "var/spool/mailrace";
  MustOpen();
  EXPECT_EQ(ModeOf(options_.directory), 0700u);
  EXPECT_EQ(ModeOf(DatabaseFile("")), 0700u);
}

TEST_F(DirectoryStoreTest, ThatOthersCanWriteToIsRefused) {
  for (const mode_t mode : {0770u, 0702u, 0777u}) {
    std::filesystem::remove_all(options_.directory);
    ASSERT_EQ(::mkdir(options_.directory.c_str(), 0700), 0);
    ASSERT_EQ(::chmod(options_.directory.c_str(), mode), 0);
    const absl::Status status = Open();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr(options_.directory));
  }
}

TEST_F(DirectoryStoreTest, OfAnotherOwnerIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  ASSERT_EQ(::mkdir(options_.directory.c_str(), 0700), 0);
  ASSERT_EQ(::chown(options_.directory.c_str(), 65534, 65534), 0);
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("owned by user id 65534"));
}

TEST_F(DirectoryStoreTest, ThatIsAFileIsRefused) {
  WriteFile(options_.directory, "");
  EXPECT_THAT(Message(Open()), HasSubstr("is not a directory"));
}

TEST_F(DirectoryStoreTest, SecondInstanceIsRefusedAndTheFirstGoesOn) {
  MustOpen();
  Accept(1, 5);
  const auto second = OpenRocksdbStore(options_);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(Message(second.status()), HasSubstr("in use by another instance"));
  EXPECT_THAT(Message(second.status()), HasSubstr(std::to_string(::getpid())));
  Accept(6, 10);
  Close();
  MustOpen();
  EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(10)));
}

// Records that annul each other vanish when they are flushed, and RocksDB's own sequence
// number falls back behind them: that is no loss.
TEST_F(DirectoryStoreTest, QueueWhoseMessagesAreAllGoneReopensAgainAndAgain) {
  MustOpen();
  Accept(1, 5);
  for (uint64_t id = 1; id <= 5; ++id) Remove(id);
  for (int run = 0; run < 4; ++run) {
    Close();
    MustOpen();
    EXPECT_THAT(FoundIds(store_.get()), testing::IsEmpty());
  }
  EXPECT_EQ(logger_.lines(), "");
}

// Nothing can have been acknowledged before the first marker.
TEST_F(DirectoryStoreTest, FirstStartMayEndAtAnyChangeOfTheDisk) {
  MustOpen();
  Close();
  const uint64_t changes = file_system_->changes();
  for (uint64_t last = 1; last <= changes; ++last) {
    std::filesystem::remove_all(options_.directory);
    file_system_->CutPowerAt(last);
    Open().IgnoreError();
    CutPower();
    MustOpen();
    EXPECT_THAT(FoundIds(store_.get()), testing::IsEmpty()) << last;
    Accept(1, 1);
    Close();
  }
}

TEST_F(DirectoryStoreTest, CleanReopensKeepEverything) {
  for (uint64_t run = 0; run < 5; ++run) {
    MustOpen();
    EXPECT_THAT(FoundIds(store_.get()), ElementsAreArray(UpTo(run * 10)));
    Accept(run * 10 + 1, run * 10 + 10);
    Close();
  }
  EXPECT_EQ(logger_.lines(), "");
}

}  // namespace
}  // namespace mailrace::queue
