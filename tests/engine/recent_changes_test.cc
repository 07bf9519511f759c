// What changed while the store was read, and nothing else, is known to have changed.
#include "engine/recent_changes.h"

#include "gtest/gtest.h"

namespace mailrace::engine {
namespace {

TEST(RecentChangesTest, AChangeIsSinceTheReadingsThatBeganBeforeIt) {
  RecentChanges changes;
  const RecentChanges::Reading before = changes.Begin();
  changes.Note(7);
  const RecentChanges::Reading after = changes.Begin();
  EXPECT_TRUE(changes.Since(before, 7));
  EXPECT_FALSE(changes.Since(before, 8));
  EXPECT_FALSE(changes.Since(after, 7));
  changes.Note(7);
  EXPECT_TRUE(changes.Since(after, 7));
}

TEST(RecentChangesTest, AnEndedReadingTakesItsChangesWithItAndNoOthers) {
  RecentChanges changes;
  const RecentChanges::Reading first = changes.Begin();
  changes.Note(1);
  const RecentChanges::Reading second = changes.Begin();
  changes.Note(2);
  changes.End(first);
  EXPECT_TRUE(changes.Since(second, 2));
  changes.End(second);
  EXPECT_FALSE(changes.any_open());
  EXPECT_FALSE(changes.Since(changes.Begin(), 2));
}

TEST(RecentChangesTest, WhatNobodyAsksForIsNotKept) {
  RecentChanges changes;
  changes.Note(1);
  EXPECT_FALSE(changes.Since(changes.Begin(), 1));
}

TEST(RecentChangesTest, BeyondItsBoundEverythingIsTakenForChanged) {
  RecentChanges changes;
  const RecentChanges::Reading old = changes.Begin();
  for (uint64_t i = 0; i <= RecentChanges::kChangesMax; ++i) changes.Note(i);
  EXPECT_TRUE(changes.Forgotten(old));
  EXPECT_TRUE(changes.Since(old, UINT64_MAX));
  const RecentChanges::Reading young = changes.Begin();
  EXPECT_FALSE(changes.Forgotten(young));
  EXPECT_FALSE(changes.Since(young, UINT64_MAX));
}

}  // namespace
}  // namespace mailrace::engine
