// What the intake of one shard counts.
#pragma once

#include "base/metrics.h"

namespace mailrace::engine {

struct IntakeStats {
  Counter sessions;          // Begun.
  Counter sessions_open;     // Now.
  Counter sessions_refused;  // Over a limit: 421 or nothing.
  Counter messages;          // Acknowledged.
  Counter octets;            // Of those.
  Counter refused;           // Commands and contents answered 4xx or 5xx.
  Counter accept_pauses;     // Descriptors ran out.
};

}  // namespace mailrace::engine
