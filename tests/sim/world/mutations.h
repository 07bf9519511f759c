// Lies that a broken engine might tell its disk. An oracle that believes them is none.
#pragma once

#include <optional>

#include "tests/sim/world/disk_model.h"
#include "tests/sim/world/sim_host.h"

namespace mailrace::sim {

// For SimCommitter::set_tamper. Nothing is written of who was delivered or failed.
std::optional<queue::WriteSet> WithoutOutcomes(const queue::WriteSet& set);
// The failures are written, the notices about them are not.
std::optional<queue::WriteSet> WithoutNotices(const queue::WriteSet& set);

// Removes a message from the disk that is being sent.
void RemoveOneInFlight(SimHost* host, const DiskModel& disk);

}  // namespace mailrace::sim
