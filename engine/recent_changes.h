// Whether what was read from the store may be out of date by the time that it comes: which
// things changed since a reading began. Remembers no change that no open reading asks for,
// and a bounded number of them. Pure; one a shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace mailrace::engine {

class RecentChanges {
 public:
  // Beyond it the oldest are forgotten, and older readings take everything for changed.
  static constexpr size_t kChangesMax = 65536;

  // A reading, from when it is asked for to when its answer was used.
  using Reading = uint64_t;
  Reading Begin();
  void End(Reading reading);
  bool any_open() const { return !open_.empty(); }

  // `thing`: its hash. Two things of one hash are taken for one.
  void Note(uint64_t thing);
  bool Since(Reading reading, uint64_t thing) const;
  // So much changed that Since() is true of everything.
  bool Forgotten(Reading reading) const { return reading < forgotten_; }

 private:
  void Forget(uint64_t before);

  uint64_t next_ = 1;
  uint64_t forgotten_ = 0;  // Changes below may have been forgotten.
  std::set<Reading> open_;
  std::deque<std::pair<uint64_t, uint64_t>> changes_;     // When, what.
  absl::flat_hash_map<uint64_t, uint64_t> last_changes_;  // What, when.
};

}  // namespace mailrace::engine
