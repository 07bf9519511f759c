// The addresses of one nexthop, put in the order to try them (RFC 5321 5.1, Postfix's
// smtp_addr.c). Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/socket_address.h"
#include "engine/own_addresses.h"

namespace mailrace::engine {

struct Target {
  std::string host;
  IpAddress ip;
  int preference = 0;  // Of the MX record; 0 without one.
  friend bool operator==(const Target&, const Target&) = default;
};

// Each but the last is the parameter of its name.
struct TargetRules {
  enum class Prefer { kAny, kIpv4, kIpv6 };
  Prefer smtp_address_preference = Prefer::kAny;
  bool smtp_randomize_addresses = true;
  bool smtp_balance_inet_protocols = true;
  size_t smtp_mx_address_limit = 5;  // 0: all.
  bool ignore_mx_lookup_error = false;
  bool smtp_defer_if_no_mx_address_found = false;
  OwnAddresses own;
};

// Takes away the hosts that are us, and all that are not better: mail goes towards the
// best exchanger only, or it goes round. True if we were among them.
bool TruncateAtSelf(const TargetRules& rules, uint16_t port, std::vector<Target>* targets);

// Shuffles equals, then sorts by preference and IP version. Those of which `dead` says so
// come last, in the same order: each has been tried a moment ago. Then the limit.
void OrderTargets(const TargetRules& rules, Random* random,
                  const std::function<bool(const Target&)>& dead, std::vector<Target>* targets);

}  // namespace mailrace::engine
