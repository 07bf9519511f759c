#include "engine/free_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mailrace::engine {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(FreeSpace, AnEpisodeIsToldAtItsBeginAndItsEndWithTheNumbers) {
  Settings settings;
  settings.free_space_reserve = 1000;
  settings.message_octets_max = 200;
  EXPECT_EQ(FreeSpaceNeeded(settings, 0), 1300U);
  EXPECT_EQ(FreeSpaceNeeded(settings, 400), 1600U);
  FreeSpaceLog log;
  EXPECT_THAT(log.Look(1300, settings).text, IsEmpty());
  const FreeSpaceLog::Line begin = log.Look(1299, settings);
  EXPECT_TRUE(begin.refusing);
  EXPECT_THAT(begin.text, HasSubstr("not enough free space in mail queue: 1299 octets < 1300"));
  EXPECT_THAT(begin.text, HasSubstr("queue_free_space_reserve"));
  EXPECT_THAT(log.Look(5, settings).text, IsEmpty());
  const FreeSpaceLog::Line end = log.Look(1300, settings);
  EXPECT_FALSE(end.refusing);
  EXPECT_THAT(end.text, HasSubstr("1300 octets are free"));
  EXPECT_THAT(log.Look(1301, settings).text, IsEmpty());
}

}  // namespace
}  // namespace mailrace::engine
