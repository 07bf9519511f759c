// Where a message's time goes, and the processor's: the tables of `mailrace stats`.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace mailrace::tools {

// `stats` as the engine answers. Lines with LF; what it has not measured is left out.
std::string StatsTables(const nlohmann::json& stats);

}  // namespace mailrace::tools
