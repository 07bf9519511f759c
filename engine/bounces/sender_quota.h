// How many notices one sender gets in an hour, so that a dead relay with 100,000 messages
// of one application does not fill its mailbox (reliability.md D-08). Not thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace mailrace::engine {

class SenderQuota {
 public:
  enum class Verdict {
    kGranted,       // And counted.
    kFirstRefused,  // The first in this hour of this sender: worth a log line.
    kRefused,
  };

  // Bounds the memory: while so many senders were told something within the hour, another
  // one is told nothing.
  static constexpr size_t kSendersMax = 10'000;
  static constexpr absl::Duration kWindow = absl::Hours(1);

  // One more notice for `sender` (case does not matter). `limit` in an hour that begins
  // with the first; 0: none.
  Verdict Take(std::string_view sender, int limit, MonoTime now);

 private:
  struct Window {
    MonoTime begin;
    int granted = 0;
    bool refused = false;
  };
  bool MakeRoom(MonoTime now);

  absl::flat_hash_map<std::string, Window> windows_;
  MonoTime sweep_not_before_;  // A full table is looked through once a minute at most.
};

}  // namespace mailrace::engine
