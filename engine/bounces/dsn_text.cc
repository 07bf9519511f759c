#include "engine/bounces/dsn_text.h"

#include <algorithm>
#include <cstddef>

#include "base/address.h"

namespace mailrace::engine {

namespace {

constexpr size_t kFoldOctets = 78;
constexpr std::string_view kIndent = "    ";
constexpr std::string_view kCut = "...";

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The largest length up to `octets` at which `text` may be cut without splitting a UTF-8
// character; `octets` itself if the text is not UTF-8 there.
size_t CutLength(std::string_view text, size_t octets) {
  if (octets >= text.size()) return text.size();
  size_t length = octets;
  while (length > 0 && octets - length < 3 && IsContinuation(text[length])) --length;
  return IsContinuation(text[length]) ? octets : length;
}

std::string_view WithoutLeadingSpaces(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text;
}

}  // namespace

std::string OneLine(std::string_view text, bool allow_utf8, size_t octets_max) {
  const bool keep_high = allow_utf8 && IsValidUtf8(text);
  std::string out;
  out.reserve(std::min(text.size(), octets_max + kCut.size()));
  bool was_break = false;
  // No more input is looked at than can be kept: a reply may be large.
  for (const char c : text) {
    if (out.size() > octets_max) break;
    const auto octet = static_cast<unsigned char>(c);
    const bool is_break = c == '\r' || c == '\n' || c == '\t';
    if (is_break) {
      if (!was_break) out += ' ';
    } else if (octet < 0x20 || octet == 0x7f || (octet >= 0x80 && !keep_high)) {
      out += '?';
    } else {
      out += c;
    }
    was_break = is_break;
  }
  if (out.size() > octets_max) {
    out.resize(CutLength(out, octets_max - std::min(octets_max, kCut.size())));
    out += kCut;
  }
  const size_t end = out.find_last_not_of(' ');
  out.resize(end == std::string::npos ? 0 : end + 1);
  return out;
}

void AppendFolded(std::string* out, std::string_view line) {
  size_t width = kFoldOctets;
  while (line.size() > width) {
    // A space in the first half would leave a ragged line, and one at the very front
    // none at all.
    size_t at = line.rfind(' ', width);
    if (at == std::string_view::npos || at < width / 2) at = CutLength(line, width);
    const std::string_view rest = WithoutLeadingSpaces(line.substr(at));
    out->append(line.substr(0, at));
    line = rest;
    if (line.empty()) break;
    out->append("\r\n").append(kIndent);
    width = kFoldOctets - kIndent.size();
  }
  out->append(line).append("\r\n");
}

void AppendOriginal(std::string* out, std::string_view original) {
  const auto start = static_cast<std::ptrdiff_t>(out->size());
  while (!original.empty()) {
    const size_t end = std::min(original.find_first_of("\r\n"), original.size());
    std::string_view line = original.substr(0, end);
    const bool crlf = original.substr(end, 2) == "\r\n";
    original.remove_prefix(std::min(end + (crlf ? 2 : 1), original.size()));
    size_t width = kLineOctetsMax;
    while (line.size() > width) {
      const size_t at = CutLength(line, width);
      out->append(line.substr(0, at)).append("\r\n ");
      line.remove_prefix(at);
      width = kLineOctetsMax - 1;
    }
    out->append(line).append("\r\n");
  }
  std::replace(out->begin() + start, out->end(), '\0', '?');
}

size_t HeaderSectionOctets(std::string_view original, size_t octets_max) {
  size_t end = 0;
  while (end < original.size()) {
    const size_t newline = original.find('\n', end);
    if (newline == std::string_view::npos || newline + 1 > octets_max) break;
    const std::string_view line = original.substr(end, newline - end);
    if (line.empty() || line == "\r") break;
    end = newline + 1;
  }
  return end;
}

}  // namespace mailrace::engine
