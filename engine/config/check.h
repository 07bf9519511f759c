// `mailrace check` without --live: everything that is wrong, at once, for people and for
// scripts; and the effective settings.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "engine/config/config.h"

namespace mailrace::engine::config {

struct CheckOptions {
  bool notes = true;      // Also what is merely worth knowing.
  bool settings = false;  // Also each parameter's effective value and where it came from.
};

// Prints to `out` and returns the exit code: 0 (warnings at most) or 1. `loaded`, if not
// null, receives the configuration for further, live, checks.
int CheckConfig(const std::string& directory, const LoadEnvironment& environment,
                const CheckOptions& options, std::ostream& out,
                std::shared_ptr<const Config>* loaded);

// "name = value    # FILE:LINE", all parameters or those that main.cf sets. No secrets.
void PrintSettings(const Config& config, bool only_assigned, std::ostream& out);

}  // namespace mailrace::engine::config
