// The list of what was in flight: what a start reads after an end at any moment.
#include "engine/flight_journal.h"

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "engine/flight_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr BootId kBoot = {1, 2, 3};

MATCHER_P3(FlightIs, id, recipients, more, "") {
  return arg.id.value == uint64_t{id} && arg.recipients == recipients && arg.more == uint32_t(more);
}

std::vector<uint32_t> List(std::initializer_list<uint32_t> numbers) { return numbers; }

class FlightJournalTest : public testing::Test {
 protected:
  FlightRecord Read() {
    absl::StatusOr<FlightRecord> record = ReadFlights(region_);
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() ? *std::move(record) : FlightRecord();
  }

  std::string region_ = std::string(FlightJournal::kOctets, 'x');
  FlightJournal journal_{{region_.data(), region_.size()}, kBoot};
};

TEST_F(FlightJournalTest, ListsWhatIsFilledAndNotCleared) {
  const FlightMark first = journal_.Fill({1}, List({0, 1}));
  journal_.Fill({2}, List({7}));
  EXPECT_EQ(journal_.recipients(), 3u);
  journal_.Clear(first);
  EXPECT_EQ(journal_.recipients(), 1u);
  const FlightRecord record = Read();
  EXPECT_EQ(record.boot, kBoot);
  EXPECT_THAT(record.flights, ElementsAre(FlightIs(2u, List({7}), 0)));
}

TEST_F(FlightJournalTest, ANewJournalListsNothing) {
  EXPECT_THAT(Read().flights, IsEmpty());
  EXPECT_TRUE(journal_.empty());
}

TEST_F(FlightJournalTest, RecipientsBeyondTheBitmapAreCounted) {
  std::vector<uint32_t> recipients(400);
  std::iota(recipients.begin(), recipients.end(), 10);
  const FlightMark mark = journal_.Fill({5}, recipients);
  const FlightRecord record = Read();
  ASSERT_THAT(record.flights, SizeIs(1));
  EXPECT_EQ(record.flights[0].recipients.size() + record.flights[0].more, 400u);
  EXPECT_EQ(record.flights[0].recipients.front(), 10u);
  journal_.Clear(mark);
  EXPECT_TRUE(journal_.empty());
}

TEST_F(FlightJournalTest, WithoutAFreeSlotTransactionsAreStillCounted) {
  std::vector<FlightMark> marks;
  for (uint64_t i = 0; i < FlightJournal::kSlots; ++i) {
    marks.push_back(journal_.Fill({i + 1}, List({0})));
  }
  const FlightMark unnamed = journal_.Fill({9'999'999}, List({0, 1, 2}));
  EXPECT_EQ(journal_.recipients(), FlightJournal::kSlots + 3);
  EXPECT_EQ(Read().unnamed_recipients, 3u);
  EXPECT_THAT(Read().flights, SizeIs(FlightJournal::kSlots));
  journal_.Clear(unnamed);
  EXPECT_EQ(Read().unnamed_recipients, 0u);
  for (const FlightMark mark : marks) journal_.Clear(mark);
  EXPECT_TRUE(journal_.empty());
  EXPECT_THAT(Read().flights, IsEmpty());
}

TEST_F(FlightJournalTest, WhatIsCarriedOverStaysUntilItsMessageIsGone) {
  std::vector<uint32_t> recipients(1000);
  std::iota(recipients.begin(), recipients.end(), 0);
  journal_.Carry({1}, recipients);
  journal_.Carry({2}, List({3}));
  // It is no part of the bound: it may never be sent again.
  EXPECT_EQ(journal_.recipients(), 0u);
  journal_.Clear(journal_.Fill({1}, List({0})));
  size_t listed = 0;
  for (const auto& flight : Read().flights) listed += flight.recipients.size();
  EXPECT_EQ(listed, 1001u);
  journal_.Forget({1});
  EXPECT_THAT(Read().flights, ElementsAre(FlightIs(2u, List({3}), 0)));
  EXPECT_FALSE(journal_.empty());
  journal_.Forget({2});
  EXPECT_TRUE(journal_.empty());
}

TEST_F(FlightJournalTest, AHalfWrittenSlotIsCountedAndNotBelieved) {
  journal_.Fill({1}, List({0}));
  journal_.Fill({2}, List({0}));
  region_[64 + 8] ^= 1;  // The first slot's id.
  const FlightRecord record = Read();
  EXPECT_EQ(record.damaged_slots, 1u);
  EXPECT_THAT(record.flights, ElementsAre(FlightIs(2u, List({0}), 0)));
}

TEST_F(FlightJournalTest, ADamagedOrCutJournalIsSeenToBeOne) {
  for (const size_t size : {size_t{0}, size_t{63}, size_t{64}, region_.size() - 1}) {
    EXPECT_EQ(ReadFlights(std::string_view(region_).substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
  region_[17] ^= 1;
  EXPECT_EQ(ReadFlights(region_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FlightJournalTest, ANewerFormatIsRefusedAndBothAreNamed) {
  region_[8] = 2;
  const absl::Status status = ReadFlights(region_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 2"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("up to 1"));
}

class FlightFileTest : public testing::Test {
 protected:
  FlightFileTest() {
    std::string path = testing::TempDir() + "flightsXXXXXX";
    directory_ = mkdtemp(path.data());
  }
  ~FlightFileTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<FlightFile> Make(int shard) {
    auto file = FlightFile::Make(directory_, shard, kBoot);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  EarlierFlights Read(const BootId& boot = kBoot) {
    auto found = ReadFlightFiles(directory_, boot);
    EXPECT_TRUE(found.ok()) << found.status();
    return *std::move(found);
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string directory_;
};

TEST_F(FlightFileTest, WhatIsInFlightIsInTheFileWithoutAnyGoodbye) {
  const auto zero = Make(0);
  const auto one = Make(1);
  ASSERT_TRUE(zero->Publish().ok());
  ASSERT_TRUE(one->Publish().ok());
  zero->journal().Fill({1}, List({0}));
  one->journal().Fill({1}, List({2}));
  one->journal().Fill({3}, List({0}));
  const EarlierFlights found = Read();
  EXPECT_TRUE(found.complete);
  EXPECT_THAT(found.flights,
              ElementsAre(FlightIs(1u, List({0, 2}), 0), FlightIs(3u, List({0}), 0)));
}

TEST_F(FlightFileTest, TheOldListStandsUntilTheNewOneIsWhole) {
  auto old = Make(0);
  ASSERT_TRUE(old->Publish().ok());
  old->journal().Fill({1}, List({0}));
  const auto fresh = Make(0);
  fresh->journal().Carry({1}, List({0}));
  EXPECT_THAT(Read().flights, ElementsAre(FlightIs(1u, List({0}), 0)));
  ASSERT_TRUE(fresh->Publish().ok());
  EXPECT_THAT(Read().flights, ElementsAre(FlightIs(1u, List({0}), 0)));
  EXPECT_THAT(Names(), ElementsAre("flight.0"));
}

TEST_F(FlightFileTest, AnotherBootMakesTheListDoubtful) {
  const auto file = Make(0);
  ASSERT_TRUE(file->Publish().ok());
  file->journal().Fill({1}, List({0}));
  const EarlierFlights found = Read(BootId{9});
  EXPECT_FALSE(found.complete);
  EXPECT_THAT(found.flights, SizeIs(1));
}

TEST_F(FlightFileTest, ADamagedFileIsNamedAndDoesNotHideTheOthers) {
  const auto file = Make(1);
  ASSERT_TRUE(file->Publish().ok());
  file->journal().Fill({1}, List({0}));
  std::ofstream(directory_ + "/flight.0") << "short";
  const EarlierFlights found = Read();
  EXPECT_FALSE(found.complete);
  EXPECT_THAT(found.damaged_files, ElementsAre(HasSubstr("/flight.0 is cut short")));
  EXPECT_THAT(found.flights, SizeIs(1));
}

TEST_F(FlightFileTest, ANewerFormatIsRefusedWithTheFilesName) {
  ASSERT_TRUE(Make(0)->Publish().ok());
  std::fstream(directory_ + "/flight.0").seekp(8).put(2);
  const absl::Status status = ReadFlightFiles(directory_, kBoot).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/flight.0"));
}

TEST_F(FlightFileTest, AnOrderlyEndLeavesOnlyWhatIsStillInDoubt) {
  const auto zero = Make(0);
  const auto one = Make(1);
  ASSERT_TRUE(zero->Publish().ok());
  ASSERT_TRUE(one->Publish().ok());
  one->journal().Fill({1}, List({0}));
  zero->RemoveIfEmpty();
  one->RemoveIfEmpty();
  EXPECT_THAT(Names(), ElementsAre("flight.1"));
}

TEST_F(FlightFileTest, FewerShardsThanBeforeLeaveNoStaleFiles) {
  for (int shard = 0; shard < 3; ++shard) ASSERT_TRUE(Make(shard)->Publish().ok());
  const auto left_over = Make(2);
  std::ofstream(directory_ + "/flights-of-fancy") << "not ours";
  RemoveStaleFlightFiles(directory_, 1);
  EXPECT_THAT(Names(), ElementsAre("flight.0", "flights-of-fancy"));
}

}  // namespace
}  // namespace mailrace::engine
