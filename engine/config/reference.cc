#include "engine/config/reference.h"

#include <fmt/format.h>

#include "engine/config/parameter.h"

namespace mailrace::engine::config {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

<!-- Made from the parameter registry in engine/config; edit there. -->

`DIR/main.cf` is the configuration, in Postfix's syntax: `name = value`, one a line. A line that begins with
white space continues the one before; lines whose first character is `#` are comments, and there are no
comments behind a value. The last assignment of a name counts. `$name`, `${name}`, `${name?text}`,
`${name:text}`, `${name?{text}:{text}}` and comparisons such as `${{$a} == {b} ? {x} : {y}}` expand as in
Postfix; `$$` is a dollar sign. Times are a number and `s`, `m`, `h`, `d` or `w`. Sizes are octets; `k`, `M` and
`G` (1024 and its powers) are understood too, which Postfix does not.

`mailrace check -c DIR` reports everything that is wrong, each with file and line. A configuration with an
error is not used, neither at start nor on reload, where the old one stays in force whole. Names that neither
Mailrace nor Postfix knows are warned of. Parameters of Postfix that are not in this list have no meaning here and do no harm.

## Lookup tables

A table is `type:name`. A parameter may list several, which are searched in order.

| type | what it is |
|---|---|
| `hash:` `btree:` `lmdb:` `cdb:` `dbm:` `texthash:` | the *text* file of that name: `key value` lines, as postmap(1) reads. No postmap run is needed. |
| `inline:{ key=value, { key = text with spaces } }` | a table written in main.cf |
| `static:value` | the same value for every key |

Keys are compared without case. A relative file name starts at the configuration directory. `proxy:` before a type is ignored. `mailrace postmap FILE` checks a table, `mailrace postmap -q KEY FILE` asks it.

Tables of passwords must belong to root or to the user that runs Mailrace, must be closed to all others (`chmod 600`), and must not lie in a directory that others can write to. `sasl_password_file_check = no` lifts that.
)";

std::string Entry(const Parameter& p) {
  std::string out = fmt::format("### {}\n\n{}\n\n", p.name, p.meaning);
  out += fmt::format("- Value: {}\n", p.TypeText());
  out += fmt::format("- Default: {}\n",
                     p.default_text.empty() ? "empty" : fmt::format("`{}`", p.default_text));
  out += fmt::format("- Takes effect: {}\n", p.reloadable ? "on reload" : "at start");
  out += fmt::format("- When to change it: {}\n", p.change);
  if (!p.old_name.empty()) out += fmt::format("- Also accepted as: `{}`\n", p.old_name);
  return out + "\n";
}

}  // namespace

std::string ConfigurationReference() {
  std::string out(kIntroduction);
  for (const ParameterGroup& group : ParameterGroups()) {
    out += fmt::format("\n## {}\n\n{}\n\n", group.title, group.about);
    for (const Parameter& parameter : group.parameters) out += Entry(parameter);
    out.pop_back();
  }
  return out;
}

}  // namespace mailrace::engine::config
