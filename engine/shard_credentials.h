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
  // `user` at `host`; `generation` of the tables, so that a corrected password works at
  // once after a reload.
  struct Key {
    std::string host;
    std::string user;
    uint64_t generation = 0;
    auto operator<=>(const Key&) const = default;
  };

  // The server's words if the credential rests now. One caller at a time is let through
  // when the pause is over: its try decides for all.
  std::optional<std::string> Paused(const Key& key, MonoTime now);
  // True if this is the first refusal (one alarm, not one a session).
  bool Refused(const Key& key, std::string reply, MonoTime now, absl::Duration pause);
  // True if it had been refused before (the all-clear).
  bool Accepted(const Key& key);

 private:
  struct Entry {
    MonoTime until;
    absl::Duration pause;
    std::string reply;
  };
  static constexpr size_t kEntriesMax = 1000;
  std::mutex mutex_;
  std::map<Key, Entry> entries_;  // Guarded by mutex_.
};

}  // namespace mailrace::engine
