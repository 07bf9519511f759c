// The tables of `mailrace stats`: what an engine answered, for people.
#include "tools/mailrace/stats_tables.h"

#include "engine/stages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::tools {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

Json Times(double mean) {
  return {{"count", 10}, {"mean", mean}, {"sum", mean * 10}, {"p50", 1024}, {"p99", 4096}};
}

Json Stats() {
  Json stats = {{"accepted", 10}};
  for (size_t i = 0; i < engine::kStages; ++i) {
    stats["stages"][std::string(engine::StageName(static_cast<engine::Stage>(i)))] = Times(0);
  }
  stats["stages"]["queue"] = Times(30'000);
  stats["stages"]["end_of_data"] = Times(10'000);
  stats["stages"]["record"] = Times(5'000);
  stats["microseconds"]["delivery"] = Times(40'000);
  stats["cpu_seconds"] = {{"shard-0", 0.002}, {"commit", 0.001}};
  stats["process"] = {{"cpu_seconds", 0.004}};
  stats["commits"] = {{"group_requests", Times(7)},
                      {"sync_microseconds", Times(900)},
                      {"wait_microseconds", Times(100)}};
  return stats;
}

TEST(StatsTablesTest, EveryStageHasALineWithItsShare) {
  const std::string text = StatsTables(Stats());
  for (size_t i = 0; i < engine::kStages; ++i) {
    EXPECT_THAT(text, HasSubstr(engine::StageName(static_cast<engine::Stage>(i))));
  }
  EXPECT_THAT(text, ContainsRegex("queue +30.000 +75.0 % +1.024 +4.096\n"));
  EXPECT_THAT(text, ContainsRegex("end_of_data +10.000 +25.0 %"));
}

TEST(StatsTablesTest, TheSumStandsBesideTheDeliveryTimeAndTheRecordBehindIt) {
  const std::string text = StatsTables(Stats());
  EXPECT_THAT(text, ContainsRegex("sum +40.000\ndelivery +40.000 .*\nthen: record +5.000"));
}

TEST(StatsTablesTest, ThreadsAreSortedByWhatTheyUsedAndSharedOutToMessages) {
  EXPECT_THAT(StatsTables(Stats()),
              ContainsRegex("shard-0 +0.002 +200.0\ncommit +0.001 +100.0\nprocess +0.004 +400.0"));
}

TEST(StatsTablesTest, GroupsSayHowManyChangesOneSyncWasFor) {
  const std::string text = StatsTables(Stats());
  EXPECT_THAT(text, HasSubstr("10, of 7.0 changes on average"));
  EXPECT_THAT(text, ContainsRegex("write and sync +0.900"));
}

TEST(StatsTablesTest, AnEngineThatDidNothingYetHasNoTables) {
  EXPECT_EQ(StatsTables(Json::object()), "");
  EXPECT_THAT(StatsTables({{"cpu_seconds", {{"commit", 0.5}}}}), Not(HasSubstr("deliveries")));
}

}  // namespace
}  // namespace mailrace::tools
