// A stopped queue, looked at: nothing in it changes, and what is damaged is named while
// the rest is read.
#include "queue/offline_queue.h"

#include <fstream>
#include <map>

#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class OfflineQueueTest : public testing::Test {
 protected:
  std::string directory() const { return temporary_ / "spool"; }
  std::unique_ptr<Store> OpenStore() {
    RocksdbStoreOptions options;
    options.directory = directory();
    options.memtable_octets = 1 << 20;
    auto store = OpenRocksdbStore(options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  // Envelopes say the size of the bodies that BodyOf() makes.
  static WriteSet Whole(uint64_t id, uint32_t chunks = 1) {
    WriteSet set;
    Envelope envelope = EnvelopeOf(id, chunks);
    envelope.octets = 0;
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      auto body = std::make_shared<const std::string>(BodyOf(id, chunk));
      envelope.octets += body->size();
      set.PutChunk(QueueId{id}, chunk, std::move(body));
    }
    set.PutMessage(envelope);
    return set;
  }
  void Fill(uint64_t messages) {
    const std::unique_ptr<Store> store = OpenStore();
    for (uint64_t id = 1; id <= messages; ++id) {
      ASSERT_TRUE(CommitOne(store.get(), Whole(id, id == 3 ? 3 : 1)).ok());
    }
    WriteSet outcomes;
    outcomes.PutDone(QueueId{2}, 0, Final::kDelivered);
    RetryState held;
    held.held = true;
    held.attempts = 2;
    outcomes.PutRetry(QueueId{4}, held);
    ASSERT_TRUE(CommitOne(store.get(), outcomes).ok());
  }
  std::unique_ptr<OfflineQueue> Open() {
    auto queue = OpenOfflineQueue(directory(), nullptr);
    EXPECT_TRUE(queue.ok()) << queue.status();
    return queue.ok() ? *std::move(queue) : nullptr;
  }
  // Every file with its octets.
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      files[entry.path().string()] = {std::istreambuf_iterator<char>(file), {}};
    }
    return files;
  }
  std::vector<fs::path> FilesEndingWith(std::string_view end) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(directory() + "/queue")) {
      if (entry.path().string().ends_with(end) && entry.file_size() > 0) {
        found.push_back(entry.path());
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  static void FlipBit(const fs::path& path, uintmax_t at) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const int octet = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(octet ^ 4));
  }
  static std::vector<uint64_t> IdsOf(OfflineQueue* queue) {
    std::vector<uint64_t> ids;
    queue->ForEach([&ids](QueueId id, const absl::StatusOr<RecoveredMessage>& found) {
      if (found.ok()) ids.push_back(id.value);
    });
    return ids;
  }

  TemporaryDirectory temporary_;
};

TEST_F(OfflineQueueTest, ASoundQueueIsReadAndNotChanged) {
  Fill(6);
  const auto before = Files();
  {
    const std::unique_ptr<OfflineQueue> queue = Open();
    EXPECT_THAT(queue->damage(), IsEmpty());
    EXPECT_THAT(IdsOf(queue.get()), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(queue->ReadChunk(QueueId{3}, 2).value(), BodyOf(3, 2));
    EXPECT_TRUE(queue->ReadMessage(QueueId{4})->retry.held);
    EXPECT_TRUE(absl::IsNotFound(queue->ReadMessage(QueueId{7}).status()));
    const OfflineQueue::Report report = queue->Verify();
    EXPECT_TRUE(report.sound()) << report.problems.front();
    EXPECT_EQ(report.messages, 6u);
    EXPECT_EQ(report.recipients_owed, 11u);
    EXPECT_EQ(report.held, 1u);
    EXPECT_EQ(report.content_records, 8u);
    EXPECT_EQ(report.orphans, 0u);
  }
  EXPECT_EQ(Files(), before);
  const std::unique_ptr<Store> store = OpenStore();  // And it starts as before.
  EXPECT_THAT(FoundIds(store.get()), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(OfflineQueueTest, AQueueInUseIsRefusedAndOneThatIsReadIsNotStarted) {
  {
    const std::unique_ptr<Store> store = OpenStore();
    const auto refused = OpenOfflineQueue(directory(), nullptr);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
    EXPECT_THAT(Message(refused.status()), HasSubstr("in use"));
  }
  const std::unique_ptr<OfflineQueue> one = Open();
  const std::unique_ptr<OfflineQueue> other = Open();
  RocksdbStoreOptions options;
  options.directory = directory();
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenRocksdbStore(options).status()));
}

TEST_F(OfflineQueueTest, WhereNoQueueIsNoneIsMade) {
  EXPECT_TRUE(absl::IsNotFound(OpenOfflineQueue(directory(), nullptr).status()));
  EXPECT_FALSE(fs::exists(directory()));
}

TEST_F(OfflineQueueTest, ADamagedLogIsNamedAndTheRestIsListed) {
  Fill(6);
  const std::vector<fs::path> logs = FilesEndingWith(".log");
  ASSERT_FALSE(logs.empty());
  FlipBit(logs.back(), fs::file_size(logs.back()) / 2);
  const auto before = Files();
  {
    const std::unique_ptr<OfflineQueue> queue = Open();
    ASSERT_NE(queue, nullptr);
    EXPECT_FALSE(queue->damage().empty());
    const std::vector<uint64_t> ids = IdsOf(queue.get());
    EXPECT_THAT(ids, Contains(1));
    EXPECT_LT(ids.size(), 6u);
    const OfflineQueue::Report report = queue->Verify();
    EXPECT_FALSE(report.sound());
  }
  EXPECT_EQ(Files(), before);
}

TEST_F(OfflineQueueTest, ADamagedTableLosesOnlyWhatLiesInIt) {
  Fill(2000);
  // A start takes the log into tables.
  OpenStore().reset();
  std::vector<fs::path> tables = FilesEndingWith(".sst");
  ASSERT_FALSE(tables.empty());
  // The bodies' table is the largest: envelopes stay readable.
  const fs::path largest = *std::max_element(
      tables.begin(), tables.end(),
      [](const fs::path& a, const fs::path& b) { return fs::file_size(a) < fs::file_size(b); });
  FlipBit(largest, fs::file_size(largest) / 2);
  const std::unique_ptr<OfflineQueue> queue = Open();
  ASSERT_NE(queue, nullptr);
  EXPECT_EQ(IdsOf(queue.get()).size(), 2000u);
  const OfflineQueue::Report report = queue->Verify();
  EXPECT_FALSE(report.sound());
  EXPECT_EQ(report.messages, 2000u);
  EXPECT_GT(report.incomplete_messages, 0u);
  EXPECT_LT(report.incomplete_messages, 100u);
}

TEST_F(OfflineQueueTest, BehindADamagedBlockOfEnvelopesTheListGoesOn) {
  Fill(2000);
  OpenStore().reset();
  // Flips in each table of a middling size until envelopes are hit.
  for (const fs::path& table : FilesEndingWith(".sst")) {
    const uintmax_t middle = fs::file_size(table) / 2;
    FlipBit(table, middle);
    if (const std::unique_ptr<OfflineQueue> queue = Open()) {
      std::vector<uint64_t> ids;
      const std::vector<std::string> gaps =
          queue->ForEach([&ids](QueueId id, const absl::StatusOr<RecoveredMessage>& found) {
            if (found.ok()) ids.push_back(id.value);
          });
      if (!gaps.empty()) {
        EXPECT_THAT(gaps[0], HasSubstr("cannot be read"));
        EXPECT_THAT(ids, Contains(1));
        EXPECT_THAT(ids, Contains(2000));
        EXPECT_LT(ids.size(), 2000u);
        EXPECT_GT(ids.size(), 1000u);
        return;
      }
    }
    FlipBit(table, middle);  // As it was.
  }
  FAIL() << "no flip hit an envelope";
}

TEST_F(OfflineQueueTest, MissingAndMissizedContentAndOrphansAreFound) {
  {
    const std::unique_ptr<Store> store = OpenStore();
    ASSERT_TRUE(CommitOne(store.get(), Whole(1)).ok());
    WriteSet odd;
    odd.PutMessage(EnvelopeOf(2));  // Without its body.
    odd.PutMessage(EnvelopeOf(3));  // With a body of another size.
    odd.PutChunk(QueueId{3}, 0, std::make_shared<const std::string>("short"));
    odd.PutRetry(QueueId{9}, RetryState());  // Of no message.
    ASSERT_TRUE(CommitOne(store.get(), odd).ok());
  }
  const OfflineQueue::Report report = Open()->Verify();
  EXPECT_EQ(report.messages, 3u);
  EXPECT_EQ(report.incomplete_messages, 2u);
  EXPECT_EQ(report.orphans, 1u);
  EXPECT_THAT(report.problems, ElementsAre(HasSubstr("1 of 1 body records are missing"),
                                           HasSubstr("has 5 octets, its envelope says 1000")));
}

}  // namespace
}  // namespace mailrace::queue
