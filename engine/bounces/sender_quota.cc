#include "engine/bounces/sender_quota.h"

#include "base/text.h"

namespace mailrace::engine {

namespace {

constexpr absl::Duration kSweepPause = absl::Minutes(1);

}  // namespace

bool SenderQuota::MakeRoom(MonoTime now) {
  if (windows_.size() < kSendersMax) return true;
  if (now < sweep_not_before_) return false;
  sweep_not_before_ = now + kSweepPause;
  for (auto it = windows_.begin(); it != windows_.end();) {
    const auto here = it++;
    if (now - here->second.begin >= kWindow) windows_.erase(here);
  }
  return windows_.size() < kSendersMax;
}

SenderQuota::Verdict SenderQuota::Take(std::string_view sender, int limit, MonoTime now) {
  if (limit <= 0) return Verdict::kGranted;
  const std::string key = AsciiLowered(sender);
  auto it = windows_.find(key);
  if (it == windows_.end()) {
    if (!MakeRoom(now)) return Verdict::kRefused;
    it = windows_.emplace(key, Window{now}).first;
  }
  Window& window = it->second;
  if (now - window.begin >= kWindow) window = {now};
  if (window.granted < limit) {
    ++window.granted;
    return Verdict::kGranted;
  }
  if (window.refused) return Verdict::kRefused;
  window.refused = true;
  return Verdict::kFirstRefused;
}

}  // namespace mailrace::engine
