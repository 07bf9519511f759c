// One refused login stops that credential on every shard for a while: a wrong password
// must not lock the account out (reliability.md A-07). Thread-safe; asked once a
// session, so a mutex is cheap enough.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace mailrace::engine {

class CredentialPauses {
 public:
  // `user` at `host`.
  struct Key {
    std::string host;
    std::string user;
    auto operator<=>(const Key&) const = default;
  };

  // `generation` is of the configuration that the credential was read by (Settings).

  // The server's words if the credential rests now. One caller at a time is let through
  // when the pause is over, or the configuration is newer than the refusal (the password
  // may have been corrected): its try decides for all.
  std::optional<std::string> Paused(const Key& key, uint64_t generation, MonoTime now);
  // True if this is the first refusal since the credential worked (one alarm, not one a
  // session or a reload). What is said to an older configuration counts no more.
  bool Refused(const Key& key, uint64_t generation, std::string reply, MonoTime now,
               absl::Duration pause);
  // True if it had been refused before (the all-clear).
  bool Accepted(const Key& key);

 private:
  struct Entry {
    MonoTime until;
    absl::Duration pause;
    std::string reply;
    uint64_t generation = 0;
  };
  static constexpr size_t kEntriesMax = 1000;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::map<Key, Entry> entries_;
  uint64_t newest_generation_ = 0;
};

}  // namespace mailrace::engine
