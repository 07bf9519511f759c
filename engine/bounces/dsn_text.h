// Hostile text made fit for a notification: replies, names and addresses that others
// wrote, and the original message itself. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/time/time.h"

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

// Appends `text`, whose lines end with CRLF, in quoted-printable (RFC 2045 6.7): ASCII
// whatever it was, lines of at most 76 octets.
void AppendQuotedPrintable(std::string* out, std::string_view text);

// An address of type utf-8 in the form for seven-bit places, utf-8-addr-xtext (RFC 6533 3):
// what is not printable ASCII, and '\\', '+', '=' and space, as "\\x{E9}". REQUIRES:
// `address` is valid UTF-8.
std::string Utf8AddrXtext(std::string_view address);
// Undoes it, and utf-8-addr-unitext; what is not well formed, or would give a control
// character, stays as it was.
std::string DecodeUtf8Addr(std::string_view text);

// "4 hours", "1 day", "90 seconds": in the largest unit that says it exactly.
std::string DurationWords(absl::Duration duration);

// The length of the header section at the front of `original`, with its last line end
// and without the blank line. At most `octets_max`, then and where `original` ends before
// the section does, cut after a whole line.
size_t HeaderSectionOctets(std::string_view original, size_t octets_max);

}  // namespace mailrace::engine
