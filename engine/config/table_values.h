// The values of a lookup table, checked when it is loaded: whoever asks later finds none
// that it does not understand.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "engine/config/diagnostics.h"
#include "engine/tables/lookup_table.h"

namespace mailrace::engine::config {

// `problem` says what is wrong with a value, or nothing. Each bad one becomes an error at
// its line; of a table inside main.cf, where that stands.
void CheckTableValues(const tables::TableList& tables, const tables::TableLoadOptions& options,
                      const std::function<std::string(std::string_view value)>& problem,
                      Diagnostics* diagnostics);

}  // namespace mailrace::engine::config
