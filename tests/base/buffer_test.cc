#include "base/buffer.h"

#include <string>

#include "base/random.h"
#include "gtest/gtest.h"

namespace mailrace {
namespace {

TEST(Buffer, IsAQueueOfOctets) {
  Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  buffer.Append("EHLO ");
  buffer.Append("");
  buffer.Append("x\r\n");
  EXPECT_EQ(buffer.view(), "EHLO x\r\n");
  buffer.Consume(5);
  EXPECT_EQ(buffer.view(), "x\r\n");
  buffer.Append("NOOP");
  EXPECT_EQ(buffer.view(), "x\r\nNOOP");
  buffer.Consume(buffer.size());
  EXPECT_TRUE(buffer.empty());
}

TEST(Buffer, TakesWhatWasPreparedAndCommitted) {
  Buffer buffer;
  buffer.Append("a");
  char* out = buffer.Prepare(100);
  std::memcpy(out, "bcd", 3);
  buffer.Commit(2);
  EXPECT_EQ(buffer.view(), "abc");
}

TEST(Buffer, IsEmptyAfterAMove) {
  Buffer first;
  first.Append("mail");
  Buffer second = std::move(first);
  EXPECT_EQ(second.view(), "mail");
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): the promise under test.
  first.Append("again");
  EXPECT_EQ(first.view(), "again");
  second = std::move(first);
  EXPECT_EQ(second.view(), "again");
}

TEST(Buffer, ShrinksOnlyWhenEmpty) {
  Buffer buffer;
  buffer.Append(std::string(100'000, 'x'));
  buffer.Shrink(10);
  EXPECT_EQ(buffer.size(), 100'000u);
  buffer.Clear();
  buffer.Shrink(10);
  buffer.Append("still works");
  EXPECT_EQ(buffer.view(), "still works");
}

TEST(Buffer, BehavesLikeAString) {
  SeededRandom random(3);
  Buffer buffer;
  std::string model;
  for (int step = 0; step < 20'000; ++step) {
    if (random.Below(2) == 0) {
      const std::string octets(random.Below(300), static_cast<char>('a' + random.Below(26)));
      buffer.Append(octets);
      model += octets;
    } else {
      const size_t n = random.Below(model.size() + 1);
      buffer.Consume(n);
      model.erase(0, n);
    }
    ASSERT_EQ(buffer.view(), model);
  }
}

}  // namespace
}  // namespace mailrace
