#include "base/loop.h"

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/sync.h"
#include "base/task.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

using testing::ElementsAre;

Task<void> Acknowledge(Event* delivery, std::vector<std::string>* log) {
  log->push_back("250");
  delivery->NotifyAll();
  co_return;
}

Task<void> Deliver(Event* delivery, std::vector<std::string>* log) {
  co_await delivery->Wait(MonoTime::Infinite());
  log->push_back("relayed");
}

// Else the 250 of each message in a group would wait until all of them were encrypted.
TEST(Loop, WhatATurnSetsOffWaitsUntilItsDriverHasSubmitted) {
  SimClock clock;
  Loop loop(&clock);
  TaskScope scope(&loop);
  Event delivery(&loop);
  std::vector<std::string> log;
  scope.Spawn(Deliver(&delivery, &log));
  loop.RunAllReady();
  scope.Spawn(Acknowledge(&delivery, &log));

  loop.RunReady();
  EXPECT_THAT(log, ElementsAre("250"));
  EXPECT_TRUE(loop.has_ready());
  EXPECT_EQ(loop.NextWake(), loop.now()) << "the driver must not sleep";
  loop.RunReady();
  EXPECT_THAT(log, ElementsAre("250", "relayed"));
  EXPECT_FALSE(loop.has_ready());
}

}  // namespace
}  // namespace mailrace
