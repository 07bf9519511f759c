#include "engine/shard_credentials.h"

namespace mailrace::engine {

std::optional<std::string> CredentialPauses::Paused(const Key& key, MonoTime now) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  if (now < it->second.until) return it->second.reply;
  it->second.until = now + it->second.pause;  // The others wait for this caller's try.
  return std::nullopt;
}

bool CredentialPauses::Refused(const Key& key, std::string reply, MonoTime now,
                               absl::Duration pause) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kEntriesMax && !entries_.contains(key)) entries_.erase(entries_.begin());
  const auto [it, first] =
      entries_.insert_or_assign(key, Entry{now + pause, pause, std::move(reply)});
  return first;
}

bool CredentialPauses::Accepted(const Key& key) {
  const std::lock_guard lock(mutex_);
  return entries_.erase(key) > 0;
}

}  // namespace mailrace::engine
