// `mailrace postmap`: validates a lookup table, or asks it, as postmap(1) does. Nothing
// is built: tables are read from their text.
//
//   postmap [type:]FILE…              says what is wrong; 0 if nothing is
//   postmap -q KEY [type:]FILE…       prints the first value found; 1 if there is none
//   postmap -q - [type:]FILE…         the same for each line of the input: "key<TAB>value"
//   postmap -s [type:]FILE…           prints all entries
//
// The type is hash if none is given.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace mailrace::engine::tables {

// `arguments` without the program's name. Returns the exit code: 0, 1 (not found, bad
// table) or 64 (EX_USAGE). Errors go to `err`, one line each, file:line first.
int Postmap(const std::vector<std::string>& arguments, std::istream& in, std::ostream& out,
            std::ostream& err);

}  // namespace mailrace::engine::tables
