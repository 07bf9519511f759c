#include "engine/recent_changes.h"

namespace mailrace::engine {

RecentChanges::Reading RecentChanges::Begin() {
  const Reading reading = next_++;
  open_.insert(reading);
  return reading;
}

void RecentChanges::End(Reading reading) {
  open_.erase(reading);
  Forget(open_.empty() ? next_ : *open_.begin());
}

void RecentChanges::Note(uint64_t thing) {
  if (open_.empty()) return;
  const uint64_t now = next_++;
  changes_.emplace_back(now, thing);
  last_changes_[thing] = now;
  if (changes_.size() <= kChangesMax) return;
  forgotten_ = changes_[kChangesMax / 2].first;
  Forget(forgotten_);
}

bool RecentChanges::Since(Reading reading, uint64_t thing) const {
  if (Forgotten(reading)) return true;
  const auto change = last_changes_.find(thing);
  return change != last_changes_.end() && change->second > reading;
}

void RecentChanges::Forget(uint64_t before) {
  while (!changes_.empty() && changes_.front().first < before) {
    const auto [when, thing] = changes_.front();
    changes_.pop_front();
    const auto last = last_changes_.find(thing);
    if (last != last_changes_.end() && last->second == when) last_changes_.erase(last);
  }
}

}  // namespace mailrace::engine
