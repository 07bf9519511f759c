// Hostile text made fit for a notification: replies, names and addresses that others
// wrote, and the original message itself. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mailrace::engine {

// RFC 5322 2.1.1, without CRLF.
inline constexpr size_t kLineOctetsMax = 998;

// One line without control characters: runs of CR, LF and TAB become a space, other
// controls '?'. Octets above 127 become '?' unless `allow_utf8` and the text is valid
// UTF-8. Cut at `octets_max` (not within a character), which "..." then shows.
std::string OneLine(std::string_view text, bool allow_utf8, size_t octets_max);

// Appends the line, folded at 78 octets with an indent of four, and CRLF. A word longer
// than a line is broken. No continuation line is blank, so that it is also right in a
// header. REQUIRES: `line` comes from OneLine().
void AppendFolded(std::string* out, std::string_view line);

// Appends text of the original message: CRLF at every line end whatever it was, lines of
// more than 998 octets continued after CRLF and a space (as Postfix's
// smtp_line_length_limit), NUL as '?'. Ends with CRLF unless empty.
void AppendOriginal(std::string* out, std::string_view original);

// The length of the header section at the front of `original`, with its last line end
// and without the blank line. At most `octets_max`, then and where `original` ends before
// the section does, cut after a whole line.
size_t HeaderSectionOctets(std::string_view original, size_t octets_max);

}  // namespace mailrace::engine
