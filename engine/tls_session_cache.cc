#include "engine/tls_session_cache.h"

namespace mailrace::engine {

transport::tls::SessionPtr TlsSessionCache::Take(const DestinationKey& key, MonoTime now) {
  const auto it = sessions_.find(key);
  if (it == sessions_.end()) return nullptr;
  std::deque<Entry>& entries = it->second;
  transport::tls::SessionPtr found;
  while (!entries.empty() && found == nullptr) {
    if (entries.back().expires > now) found = std::move(entries.back().session);
    entries.pop_back();
  }
  if (entries.empty()) sessions_.erase(it);
  return found;
}

void TlsSessionCache::Put(const DestinationKey& key, transport::tls::SessionPtr session,
                          MonoTime expires) {
  if (sessions_.size() >= kKeysMax && !sessions_.contains(key)) sessions_.erase(sessions_.begin());
  std::deque<Entry>& entries = sessions_[key];
  entries.push_back({std::move(session), expires});
  if (entries.size() > kPerKeyMax) entries.pop_front();
}

}  // namespace mailrace::engine
