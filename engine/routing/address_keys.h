// Which keys an address has in lookup tables, the most specific first (Postfix's
// mail_addr_find). Pure. Keys are as the address is written; tables fold case.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/config/general_options.h"

namespace mailrace::engine {

// In tables by sender: user+ext@domain, user@domain, user+ext and user if the domain is
// ours (myorigin, myhostname), @domain. Nothing for an empty address.
std::vector<std::string> SenderKeys(std::string_view sender, const config::GeneralOptions& general);

// In transport_maps: user+ext@domain, user@domain, domain, then its parents as ".parent",
// or as "parent" with `parents_match`; "*" last. A recipient without a domain has ours.
std::vector<std::string> TransportKeys(std::string_view recipient,
                                       const config::GeneralOptions& general, bool parents_match);

}  // namespace mailrace::engine
