#include "engine/shard_credentials.h"

#include <algorithm>

namespace mailrace::engine {

std::optional<std::string> CredentialPauses::Paused(const Key& key, uint64_t generation,
                                                    MonoTime now) {
  const std::lock_guard lock(mutex_);
  newest_generation_ = std::max(newest_generation_, generation);
  const auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  Entry& entry = it->second;
  if (now < entry.until && generation <= entry.generation) return entry.reply;
  // The others wait for this caller's try.
  entry.until = now + entry.pause;
  entry.generation = std::max(entry.generation, generation);
  return std::nullopt;
}

bool CredentialPauses::Refused(const Key& key, uint64_t generation, std::string reply, MonoTime now,
                               absl::Duration pause) {
  const std::lock_guard lock(mutex_);
  if (generation < newest_generation_) return false;
  if (entries_.size() >= kEntriesMax && !entries_.contains(key)) entries_.erase(entries_.begin());
  const auto [it, first] =
      entries_.insert_or_assign(key, Entry{now + pause, pause, std::move(reply), generation});
  return first;
}

bool CredentialPauses::Accepted(const Key& key) {
  const std::lock_guard lock(mutex_);
  return entries_.erase(key) > 0;
}

}  // namespace mailrace::engine
