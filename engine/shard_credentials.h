// One refused login stops that credential on every shard for a while: a wrong password
// must not lock the account out (reliability.md A-07). Thread-safe; asked once a
// session, so a mutex is cheap enough.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/clock.h"

namespace mailrace::engine {

class CredentialPauses {
 public:
  // `user` at `host`. `secret` tells one password from another without being it; 0 where
  // it changes by itself (tokens).
  struct Key {
    std::string host;
    std::string user;
    size_t secret = 0;
    auto operator<=>(const Key&) const = default;
  };

  // `generation` is of the configuration that the credential was read by (Settings).

  // The server's words if the credential rests now. One caller at a time is let through
  // when the pause is over, or the configuration is newer than the refusal (the password
  // may have been corrected): its try decides for all.
  std::optional<std::string> Paused(const Key& key, uint64_t generation, MonoTime now);
  // True if this is the first refusal since the credential worked (one alarm, not one a
  // session or a reload). What is said to an older configuration counts no more. With
  // `through_reloads` a newer configuration does not end the pause.
  bool Refused(const Key& key, uint64_t generation, std::string reply, MonoTime now,
               absl::Duration pause, bool through_reloads = false);
  // True if it had been refused before (the all-clear), or if another password of the user
  // had, by an older configuration: it was corrected.
  bool Accepted(const Key& key);

  // The caller may try to log in, and says how that ended: Refused, Accepted or Undecided.
  // False: somebody else is trying a credential that never worked yet; what comes of it
  // decides for all, so wait a moment and ask again. One that works is tried by as many
  // as there are.
  bool Begin(const Key& key, MonoTime now);
  // The try came to an end that says nothing about the credential.
  void Undecided(const Key& key);

 private:
  struct Entry {
    MonoTime until;
    absl::Duration pause;
    std::string reply;
    uint64_t generation = 0;
  };
  static constexpr size_t kEntriesMax = 1000;
  // After that a try is taken for lost; servers' own time limits are longer than people's.
  static constexpr absl::Duration kTryMax = absl::Minutes(5);
  std::mutex mutex_;
  // Guarded by mutex_.
  std::map<Key, Entry> entries_;
  uint64_t newest_generation_ = 0;
  std::set<Key> proven_;
  std::map<Key, MonoTime> trying_;  // Until when at most.
};

}  // namespace mailrace::engine
