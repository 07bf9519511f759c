// Recipient to the queue's name of its nexthop (engine/routing/hop_name.h): step 4 of a
// message's life (docs/ARCHITECTURE.md). Pure.
#pragma once

#include <cstddef>
#include <string>

#include "engine/settings.h"
#include "queue/message.h"

namespace mailrace::engine {

// By Settings::routes. Without them (simulations): relayhost verbatim with its brackets
// and port, else the recipient's domain in lower case; one without a domain is ours.
// REQUIRES: recipient < envelope.recipients.size().
std::string NexthopOf(const queue::Envelope& envelope, size_t recipient, const Settings& settings);

// Whether a recipient may have different nexthops by these: tables are read anew by each
// reload.
bool RoutesDiffer(const Settings& a, const Settings& b);

}  // namespace mailrace::engine
