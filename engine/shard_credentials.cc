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
                               absl::Duration pause, bool through_reloads) {
  const std::lock_guard lock(mutex_);
  trying_.erase(key);
  proven_.erase(key);
  if (generation < newest_generation_) return false;
  if (entries_.size() >= kEntriesMax && !entries_.contains(key)) entries_.erase(entries_.begin());
  const auto [it, first] = entries_.insert_or_assign(
      key, Entry{now + pause, pause, std::move(reply), through_reloads ? UINT64_MAX : generation});
  return first;
}

bool CredentialPauses::Accepted(const Key& key) {
  const std::lock_guard lock(mutex_);
  trying_.erase(key);
  // Full of credentials that work: they are proven again.
  if (proven_.size() >= kEntriesMax) proven_.clear();
  proven_.insert(key);
  const size_t ended = std::erase_if(entries_, [&](const auto& entry) {
    const auto& [refused, state] = entry;
    const bool corrected = refused.host == key.host && refused.user == key.user &&
                           state.generation < newest_generation_;
    return refused == key || corrected;
  });
  return ended > 0;
}

bool CredentialPauses::Begin(const Key& key, MonoTime now) {
  const std::lock_guard lock(mutex_);
  if (proven_.contains(key)) return true;
  std::erase_if(trying_, [now](const auto& entry) { return entry.second <= now; });
  if (trying_.size() >= kEntriesMax) return true;
  return trying_.try_emplace(key, now + kTryMax).second;
}

void CredentialPauses::Undecided(const Key& key) {
  const std::lock_guard lock(mutex_);
  trying_.erase(key);
}

}  // namespace mailrace::engine
