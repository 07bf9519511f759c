// What two looks at an engine's stats say about the time between them.
#include "tools/mailrace/bench_run.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace::tools {
namespace {

using Json = nlohmann::json;

Json Times(double count, double sum) { return {{"count", count}, {"sum", sum}}; }

Json Before() {
  return {{"delivered", 100},
          {"deferred", 10},
          {"connects", 4},
          {"cpu_seconds", {{"shard-0", 1.0}, {"shard-1", 5.0}, {"commit", 2.0}}},
          {"commits",
           {{"requests", 300},
            {"group_requests", Times(10, 300)},
            {"sync_microseconds", Times(10, 20'000)}}},
          {"stages", {{"envelope", Times(100, 1'000)}, {"end_of_data", Times(100, 2'000)}}},
          {"microseconds", {{"connect", Times(4, 4'000)}}}};
}

Json After() {
  return {
      {"delivered", 300},
      {"deferred", 60},
      {"connects", 24},
      {"cpu_seconds", {{"shard-0", 6.0}, {"shard-1", 6.0}, {"commit", 4.0}, {"store-reader", 1.0}}},
      {"commits",
       {{"requests", 700},
        {"group_requests", Times(30, 700)},
        {"sync_microseconds", Times(30, 5'020'000)}}},
      {"stages",
       {{"envelope", Times(300, 2'001'000)},
        {"data", Times(200, 200'000)},
        {"end_of_data", Times(300, 4'002'000)}}},
      {"microseconds", {{"connect", Times(24, 1'004'000)}, {"tls", Times(20, 200'000)}}}};
}

TEST(BenchFiguresTest, RatesAndSharesAreOfTheTimeBetween) {
  const BenchFigures figures = FiguresBetween(Before(), After(), 10);
  EXPECT_DOUBLE_EQ(figures.delivered, 20);
  EXPECT_DOUBLE_EQ(figures.connects, 2);
  EXPECT_DOUBLE_EQ(figures.deferred, 0.2);
  EXPECT_DOUBLE_EQ(figures.shard_cpu, 0.5) << "the busiest in this time, not since the start";
  EXPECT_DOUBLE_EQ(figures.commit_cpu, 0.2);
  EXPECT_DOUBLE_EQ(figures.reader_cpu, 0.1) << "a thread that was not there before";
  EXPECT_DOUBLE_EQ(figures.disk_busy, 0.5);
}

TEST(BenchFiguresTest, MeansAreOfWhatCameInBetween) {
  const BenchFigures figures = FiguresBetween(Before(), After(), 10);
  EXPECT_DOUBLE_EQ(figures.sync_seconds, 0.25);
  EXPECT_DOUBLE_EQ(figures.changes_a_sync, 20);
  EXPECT_DOUBLE_EQ(figures.changes_a_message, 2);
  EXPECT_DOUBLE_EQ(figures.transfer, 0.010 + 0.001 + 0.020);
  EXPECT_DOUBLE_EQ(figures.setup, 0.05);
  EXPECT_DOUBLE_EQ(figures.tls, 0.01);
}

TEST(BenchFiguresTest, AnEngineThatDidNothingHasNoFigures) {
  const BenchFigures figures = FiguresBetween(Before(), Before(), 10);
  EXPECT_EQ(figures.delivered, 0);
  EXPECT_EQ(figures.transfer, 0);
  EXPECT_EQ(figures.deferred, 0);
  EXPECT_EQ(FiguresBetween(Json::object(), Json::object(), 1).shard_cpu, 0);
}

}  // namespace
}  // namespace mailrace::tools
