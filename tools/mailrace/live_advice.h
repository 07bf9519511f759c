// What to change when a probe fails: which parameter or table, in which file and line.
// Pure functions of the configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/delivery/live_probe.h"

namespace mailrace::tools {

struct ProbedRoute {
  std::string destination;  // As asked for: an address, a domain, a nexthop.
  engine::config::Nexthop nexthop;
  std::string sender_key;  // As in HopName.
  std::string reverse_path;
  std::string origin;  // What routed it there: "relayhost (main.cf:1)".
};

// One line each, the most likely cause first.
std::vector<std::string> Advice(const engine::config::Config& config, const ProbedRoute& route,
                                std::string_view host, const engine::ProbeStep& failed);

}  // namespace mailrace::tools
