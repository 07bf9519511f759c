// When mail is refused for lack of disk space, and what the log says of it.
#pragma once

#include <cstdint>
#include <string>

#include "engine/settings.h"

namespace mailrace::engine {

// Free octets that a message of `octets` needs: room for it, for the outcomes of all others and for
// RocksDB's own flushes. `octets` 0: its size was not told.
uint64_t FreeSpaceNeeded(const Settings& settings, uint64_t octets);

// Main thread. An episode has one line at its begin and one at its end.
class FreeSpaceLog {
 public:
  struct Line {
    std::string text;  // Empty: nothing changed.
    bool refusing = false;
  };
  Line Look(uint64_t free_octets, const Settings& settings);

 private:
  bool refusing_ = false;
};

}  // namespace mailrace::engine
