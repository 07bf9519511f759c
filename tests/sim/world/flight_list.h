// What a dying engine leaves about what it had in flight: the recipients that may be
// delivered twice, by name (engine/flight_journal.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>

#include "base/queue_id.h"

namespace mailrace::sim {

struct FlightList {
  std::map<QueueId, std::set<uint32_t>> recipients;
  std::set<QueueId> incomplete;  // Has more recipients in flight than are named.
  size_t bound = 0;              // K: all of them.

  bool Has(QueueId id, uint32_t recipient) const {
    if (incomplete.contains(id)) return true;
    const auto it = recipients.find(id);
    return it != recipients.end() && it->second.contains(recipient);
  }
};

}  // namespace mailrace::sim
