// Tables in files, in the text form that postmap(1) reads:
//
//   entry = key 1*white-space value        key may hold "quoted white space"
//
// on logical lines (engine/config/logical_lines.h). No postmap run is needed; an old
// .db, .lmdb or .cdb file beside it is not looked at.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/tables/lookup_table.h"

namespace mailrace::engine::tables {

// `type` is for the table's name only.
std::shared_ptr<const LookupTable> LoadTextTable(std::string_view type, const std::string& path,
                                                 const TableLoadOptions& options,
                                                 config::Diagnostics* diagnostics);

// The parsing alone. Null after errors.
std::shared_ptr<const LookupTable> ParseTextTable(std::string_view name, std::string_view file,
                                                  std::string_view text,
                                                  const TableLoadOptions& options,
                                                  config::Diagnostics* diagnostics);

// Empty if "user:password" may be sent (NUL, CR or LF in it would end a
// SASL message or a command early), else what is wrong, without the value.
std::string CheckCredential(std::string_view value, std::string_view delimiter);

}  // namespace mailrace::engine::tables
