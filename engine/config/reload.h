// What a reload may not change: parameters that take effect at start only keep the values
// that the process runs with, and whoever changed one hears that it takes a restart.
#pragma once

#include <memory>

#include "engine/config/config.h"
#include "engine/config/diagnostics.h"

namespace mailrace::engine::config {

// `fresh` with the start-only parameters as `running` has them. A warning for each that was
// changed, with its place and both values. `running` was itself made this way, or at start.
std::shared_ptr<const Config> KeepStartParameters(const Config& running, const Config& fresh,
                                                  Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
