// `mailrace queue … --offline`: a stopped queue, read from its files and not changed.
#pragma once

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

// verify, list, show or export; `request` as the engine would get it.
int QueueOffline(const std::string& queue_directory, const QueueArguments& arguments,
                 const nlohmann::json& request, const std::vector<std::string>& ids);

}  // namespace mailrace::tools
