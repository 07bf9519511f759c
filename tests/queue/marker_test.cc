#include "queue/rocksdb_store_marker.h"

#include "fmt/format.h"
#include "tests/queue/store_fixture.h"

namespace mailrace::queue {
namespace {

const StoreMarker kMarker{"0f1e-22", 12345, 678};

TEST(StoreMarkerTest, ComesBackAsItWas) {
  const auto parsed = ParseMarker(FormatMarker(kMarker));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, kMarker);
}

TEST(StoreMarkerTest, EveryCutAndEveryAdditionIsNoticed) {
  const std::string text = FormatMarker(kMarker);
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(ParseMarker(text.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(ParseMarker(text + "\n").status()));
}

TEST(StoreMarkerTest, EveryFlippedBitIsNoticed) {
  const std::string text = FormatMarker(kMarker);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseMarker(damaged).ok()) << bit;
  }
}

TEST(StoreMarkerTest, NewerFormatIsRefusedByNameWhateverFollows) {
  const absl::Status status =
      ParseMarker(
          fmt::format("mailrace queue marker\nformat {}\nof another kind\n", kQueueFormat + 1))
          .status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(Message(status), testing::HasSubstr(fmt::format("format {}", kQueueFormat + 1)));
}

class MarkerFileTest : public testing::Test {
 protected:
  MarkerFileTest() { std::filesystem::create_directory(directory_); }
  TemporaryDirectory temporary_;
  const std::string directory_ = temporary_ / "spool";
  FaultyFileSystem file_system_{temporary_ / "graveyard"};
};

TEST_F(MarkerFileTest, IsAbsentAtFirst) {
  const auto marker = ReadMarker(&file_system_, directory_);
  ASSERT_TRUE(marker.ok());
  EXPECT_FALSE(marker->has_value());
}

TEST_F(MarkerFileTest, SurvivesThePowerCutOnceWritten) {
  ASSERT_TRUE(WriteMarker(&file_system_, directory_, kMarker).ok());
  StoreMarker later = kMarker;
  later.sequence = 20000;
  ASSERT_TRUE(WriteMarker(&file_system_, directory_, later).ok());
  file_system_.CutPower();
  file_system_.PowerOn();
  EXPECT_EQ(**ReadMarker(&file_system_, directory_), later);
}

TEST_F(MarkerFileTest, OldOneStandsWhenANewOneCannotBeWritten) {
  ASSERT_TRUE(WriteMarker(&file_system_, directory_, kMarker).ok());
  StoreMarker later = kMarker;
  later.sequence = 20000;
  file_system_.SetFull(true);
  EXPECT_TRUE(absl::IsResourceExhausted(WriteMarker(&file_system_, directory_, later)));
  EXPECT_EQ(**ReadMarker(&file_system_, directory_), kMarker);
  file_system_.SetFull(false);
  EXPECT_TRUE(WriteMarker(&file_system_, directory_, later).ok());
  EXPECT_EQ(**ReadMarker(&file_system_, directory_), later);
}

TEST_F(MarkerFileTest, DamageNamesTheFile) {
  std::ofstream(directory_ + "/marker") << "mailrace queue marker\nformat x\n";
  const absl::Status status = ReadMarker(&file_system_, directory_).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(Message(status), testing::HasSubstr(directory_ + "/marker"));
}

}  // namespace
}  // namespace mailrace::queue
