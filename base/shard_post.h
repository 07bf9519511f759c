// How another thread gives a shard something to do: a call that the shard makes at its
// next turn. Thread-safe.
#pragma once

#include <functional>

namespace mailrace {

class ShardPost {
 public:
  virtual ~ShardPost() = default;
  virtual void Post(std::function<void()> call) = 0;
};

}  // namespace mailrace
