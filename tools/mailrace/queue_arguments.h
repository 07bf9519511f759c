// The command line of `mailrace queue`: its verbs, selectors and their help.
#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "tools/mailrace/commands.h"

namespace mailrace::tools {

// -c DIR.
void AddDirectory(CLI::App* command, std::string* directory);

// `mailrace queue VERB`. A verb that is given runs, and its exit status goes to `status`.
// All borrowed until the command line was parsed.
void AddQueueCommands(CLI::App* app, QueueArguments* arguments, int* status);

}  // namespace mailrace::tools
