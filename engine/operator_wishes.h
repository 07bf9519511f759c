// What an operator wants of messages that are in delivery just now: it is done when the
// attempt ends, unless that delivers them. Lives on one shard; bounded by what is in
// flight. In memory only: a crash forgets it, as the operator was told.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/queue_id.h"

namespace mailrace::engine {

struct OperatorWish {
  enum class Kind { kHold, kRemove, kBounce };
  Kind kind = Kind::kHold;
  std::string reason;  // Of a bounce, for the sender.
};

class OperatorWishes {
 public:
  // The last wish counts.
  void Set(QueueId id, OperatorWish wish) { wishes_.insert_or_assign(id, std::move(wish)); }
  // True if there was one.
  bool Forget(QueueId id) { return !wishes_.empty() && wishes_.erase(id) > 0; }
  // Null if there is none; good until the next change.
  const OperatorWish* Find(QueueId id) const {
    if (wishes_.empty()) return nullptr;
    const auto found = wishes_.find(id);
    return found == wishes_.end() ? nullptr : &found->second;
  }
  size_t size() const { return wishes_.size(); }

 private:
  absl::flat_hash_map<QueueId, OperatorWish> wishes_;
};

}  // namespace mailrace::engine
