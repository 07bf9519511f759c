#include "engine/free_space.h"

#include <algorithm>

#include "fmt/format.h"

namespace mailrace::engine {

uint64_t FreeSpaceNeeded(const Settings& settings, uint64_t octets) {
  return settings.free_space_reserve + std::max(octets, settings.message_octets_max) * 3 / 2;
}

FreeSpaceLog::Line FreeSpaceLog::Look(uint64_t free_octets, const Settings& settings) {
  const uint64_t needed = FreeSpaceNeeded(settings, 0);
  const bool refusing = free_octets < needed;
  if (refusing == refusing_) return {};
  refusing_ = refusing;
  if (!refusing) {
    return {fmt::format("{} octets are free on the queue's file system: mail is taken again",
                        free_octets),
            false};
  }
  return {
      fmt::format("not enough free space in mail queue: {} octets < {} (queue_minfree or "
                  "queue_free_space_reserve, and 1.5 times message_size_limit); mail is refused "
                  "with 452 4.3.1 until there is room",
                  free_octets, needed),
      true};
}

}  // namespace mailrace::engine
