// The command line's selectors as the engine's request has them.
#pragma once

#include <string>

#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

// Everything but the ids. Returns what is wrong with the arguments; "" if nothing is.
std::string MakeRequest(const QueueArguments& arguments, nlohmann::json* request);

}  // namespace mailrace::tools
