// What no single value shows: parameters that do not fit together, files that are not
// there.
#pragma once

#include "engine/config/config.h"

namespace mailrace::engine::config {

// Adds errors and warnings on `config`, whose options are set and tables not yet loaded.
void ValidateOptions(const Config& config, bool check_files, Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
