// Things that are due at a time (or whatever `Key` orders), the earliest first: a heap of
// four children a node that knows where each thing is, so that any can be taken out.
// Borrows the things; keeps its index of each in the member `kIndex`. Not thread-safe.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace mailrace::queue {

template <typename T, size_t T::* kIndex, typename Key = MonoTime>
class DueHeap {
 public:
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  size_t octets() const { return entries_.capacity() * sizeof(Entry); }
  // REQUIRES for both: !empty().
  Key earliest() const { return entries_.front().due; }
  T* top() const { return entries_.front().item; }

  // REQUIRES: `item` is not in a heap.
  void Push(Key due, T* item) {
    entries_.push_back({due, item});
    SiftUp(entries_.size() - 1);
  }

  // REQUIRES: `item` is in this heap.
  void Remove(T* item) {
    const size_t hole = item->*kIndex;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (hole == entries_.size()) return;
    Put(hole, last);
    SiftUp(hole);
    SiftDown(last.item->*kIndex);
  }

  bool Contains(const T* item) const {
    const size_t index = item->*kIndex;
    return index < entries_.size() && entries_[index].item == item;
  }

  // Empties the heap; the things in no order.
  std::vector<std::pair<Key, T*>> TakeAll() {
    std::vector<std::pair<Key, T*>> all;
    all.reserve(entries_.size());
    for (const Entry& entry : entries_) all.emplace_back(entry.due, entry.item);
    entries_ = {};
    return all;
  }

  // Of two that are due together the older message goes first: no order depends on
  // chance, so that a simulation repeats.
  static bool Before(Key a_due, const T* a, Key b_due, const T* b) {
    if (a_due != b_due) return a_due < b_due;
    if constexpr (requires { a->id < b->id; }) return a->id < b->id;
    return false;
  }

 private:
  // The time stands beside the pointer: a sift compares without visiting the things.
  struct Entry {
    Key due;
    T* item;
  };
  static bool Before(const Entry& a, const Entry& b) {
    return Before(a.due, a.item, b.due, b.item);
  }
  void Put(size_t index, Entry entry) {
    entries_[index] = entry;
    entry.item->*kIndex = index;
  }
  void SiftUp(size_t index) {
    const Entry entry = entries_[index];
    while (index > 0) {
      const size_t parent = (index - 1) / 4;
      if (!Before(entry, entries_[parent])) break;
      Put(index, entries_[parent]);
      index = parent;
    }
    Put(index, entry);
  }
  void SiftDown(size_t index) {
    const Entry entry = entries_[index];
    for (;;) {
      const size_t first = index * 4 + 1;
      if (first >= entries_.size()) break;
      const size_t end = first + 4 < entries_.size() ? first + 4 : entries_.size();
      size_t least = first;
      for (size_t child = first + 1; child < end; ++child) {
        if (Before(entries_[child], entries_[least])) least = child;
      }
      if (!Before(entries_[least], entry)) break;
      Put(index, entries_[least]);
      index = least;
    }
    Put(index, entry);
  }

  std::vector<Entry> entries_;
};

}  // namespace mailrace::queue
