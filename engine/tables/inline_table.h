// Tables that are written in main.cf itself.
//
//   inline:{ key=value, { key = text with spaces } … }
//   static:value    static:{ text with spaces }         (any key has this value)
#pragma once

#include <memory>
#include <string_view>

#include "engine/tables/lookup_table.h"

namespace mailrace::engine::tables {

// `text` is what follows "inline:". Null after errors.
std::shared_ptr<const LookupTable> MakeInlineTable(std::string_view text,
                                                   const TableLoadOptions& options,
                                                   config::Diagnostics* diagnostics);
// `text` is what follows "static:".
std::shared_ptr<const LookupTable> MakeStaticTable(std::string_view text,
                                                   const TableLoadOptions& options,
                                                   config::Diagnostics* diagnostics);

}  // namespace mailrace::engine::tables
