// Postfix's "$name" expansion (postconf(5); behaviour compared with postconf -x of 3.7).
//
//   reference = "$" name / "${" body "}" / "$(" body ")"        "$$" is one "$"
//   body      = name                     value of name, expanded; undefined is empty
//             / name "?" operand [":" operand]     if the value is not empty / else
//             / name ":" operand                   if the value is empty or undefined
//             / "{" text "}" operator "{" text "}" [("?" / ":") ... as above]
//   operand   = "{" text "}" / text                text runs to the end of the body
//   operator  = "==" / "!=" / "<" / "<=" / ">=" / ">" [ "level" ]
//
// Two decimal integers compare as numbers, else as octets; "level" compares dotted
// versions number by number. A comparison alone expands to "true" or nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mailrace::engine::config {

// The unexpanded value of a name, or nothing if it is undefined. `used` is false when
// the name is only tested ("${name?…}"), which is no reason to complain.
using MacroLookup = std::function<std::optional<std::string>(std::string_view name, bool used)>;

inline constexpr int kMacroNestingMax = 100;
inline constexpr size_t kExpandedOctetsMax = 64 << 10;

// Errors (InvalidArgument) say what and where in the text: bad syntax, nesting (a name
// that contains itself) and results beyond kExpandedOctetsMax.
absl::StatusOr<std::string> ExpandMacros(std::string_view text, const MacroLookup& lookup);

// Calls `visit` for every name that `text` mentions, in all branches, not recursively.
// Broken syntax is passed over.
void VisitMacroNames(std::string_view text, const std::function<void(std::string_view)>& visit);

// -1, 0, 1 by Postfix's compatibility_level rule: "3.9" < "3.10". Nothing if either is
// not a version of one to three numbers.
std::optional<int> CompareLevels(std::string_view a, std::string_view b);

}  // namespace mailrace::engine::config
