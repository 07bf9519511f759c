// Recipient to nexthop: step 4 of a message's life (docs/ARCHITECTURE.md). Pure.
#pragma once

#include <string>

#include "engine/settings.h"
#include "queue/message.h"

namespace mailrace::engine {

// The configured relayhost, verbatim with its brackets and port, else the recipient's
// domain in lower case; a recipient without a domain (postmaster) is ours.
std::string NexthopOf(const queue::Recipient& recipient, const Settings& settings);

}  // namespace mailrace::engine
