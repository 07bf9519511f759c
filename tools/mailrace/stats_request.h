// Asks a running engine what it counted.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace mailrace::tools {

// The engine's object; null after a message on stderr.
nlohmann::json FetchStats(const std::string& queue_directory);

}  // namespace mailrace::tools
