#include "queue/due_heap.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"

namespace mailrace::queue {
namespace {

struct Thing {
  uint64_t id = 0;
  MonoTime due;
  bool inside = false;
  size_t index = 0;
};
using Heap = DueHeap<Thing, &Thing::index>;

TEST(DueHeapTest, GivesTheEarliestFirstAndOfEqualsTheLowestId) {
  Heap heap;
  std::array<Thing, 6> things{{{.id = 5}, {.id = 2}, {.id = 4}, {.id = 1}, {.id = 3}, {.id = 0}}};
  for (Thing& thing : things) heap.Push({thing.id == 3 ? 1 : 7}, &thing);
  std::vector<uint64_t> order;
  while (!heap.empty()) {
    order.push_back(heap.top()->id);
    heap.Remove(heap.top());
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{3, 0, 1, 2, 4, 5}));
}

// Against a plain list, over many random pushes and removals from anywhere.
TEST(DueHeapTest, AgreesWithAList) {
  SeededRandom random(7);
  std::vector<Thing> things(200);
  for (size_t i = 0; i < things.size(); ++i) things[i].id = i;
  Heap heap;
  std::vector<Thing*> list;
  for (int step = 0; step < 20'000; ++step) {
    Thing* const thing = &things[random.Below(things.size())];
    if (thing->inside) {
      heap.Remove(thing);
      std::erase(list, thing);
    } else {
      thing->due = {static_cast<int64_t>(random.Below(50))};
      heap.Push(thing->due, thing);
      list.push_back(thing);
    }
    thing->inside = !thing->inside;
    ASSERT_EQ(heap.size(), list.size());
    if (list.empty()) continue;
    const Thing* const least = *std::min_element(list.begin(), list.end(), [](auto* a, auto* b) {
      return Heap::Before(a->due, a, b->due, b);
    });
    ASSERT_EQ(heap.top(), least);
    ASSERT_EQ(heap.earliest(), least->due);
  }
}

TEST(DueHeapTest, TakeAllEmptiesIt) {
  Heap heap;
  std::array<Thing, 3> things{};
  for (Thing& thing : things) heap.Push({1}, &thing);
  EXPECT_EQ(heap.TakeAll().size(), 3u);
  EXPECT_TRUE(heap.empty());
}

}  // namespace
}  // namespace mailrace::queue
