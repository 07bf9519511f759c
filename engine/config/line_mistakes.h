// Mistakes that main.cf's syntax lets pass: several settings on one line, as they come
// out of web pages whose line breaks were lost, and comments behind a value.
#pragma once

#include <string>
#include <string_view>

#include "engine/config/main_cf.h"

namespace mailrace::engine::config {

// Adds an error for each assignment of a parameter that is used here whose value holds
// " known_parameter =" outside braces (to Postfix it is one assignment, whatever it
// means), a warning for others and for " #".
void ReportLineMistakes(const MainCf& main_cf, Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
