#include "engine/bounces/dsn_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/address.h"
#include "base/text.h"
#include "fmt/format.h"

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

constexpr size_t kQuotedLineOctets = 76;

// Of the well-formed UTF-8 character at the front of `text`.
uint32_t CodePoint(std::string_view text, size_t octets) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (octets == 1) return first;
  uint32_t value = first & (0xFFu >> (octets + 1));
  for (size_t i = 1; i < octets; ++i) {
    value = value << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  }
  return value;
}

void AppendUtf8(std::string* out, uint32_t value) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | (value >> shift & 0x3F)));
  };
  if (value < 0x80) {
    out->push_back(static_cast<char>(value));
  } else if (value < 0x800) {
    out->push_back(static_cast<char>(0xC0 | value >> 6));
    tail(0);
  } else if (value < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | value >> 12));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | value >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// The character that "\\x{...}" at the front of *text means; *text loses it then.
std::optional<uint32_t> TakeEmbedded(std::string_view* text) {
  constexpr std::string_view kOpen = "\\x{";
  constexpr size_t kHexOctetsMax = 6;
  if (!text->starts_with(kOpen)) return std::nullopt;
  const size_t close = text->find('}');
  if (close == std::string_view::npos || close > kOpen.size() + kHexOctetsMax) return std::nullopt;
  const std::string_view hex = text->substr(kOpen.size(), close - kOpen.size());
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  if (error != std::errc() || end != hex.data() + hex.size()) return std::nullopt;
  const bool control = value < 0x20 || (value >= 0x7F && value < 0xA0);
  if (control || (value >= 0xD800 && value < 0xE000) || value > 0x10FFFF) return std::nullopt;
  text->remove_prefix(close + 1);
  return value;
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

void AppendQuotedPrintable(std::string* out, std::string_view text) {
  size_t column = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (text.substr(i, 2) == "\r\n") {
      out->append("\r\n");
      column = 0;
      ++i;
      continue;
    }
    const auto octet = static_cast<unsigned char>(c);
    const bool at_end = i + 1 == text.size() || text.substr(i + 1, 2) == "\r\n";
    const bool blank = c == ' ' || c == '\t';
    const bool literal = blank ? !at_end : octet > 0x20 && octet < 0x7f && c != '=';
    const size_t width = literal ? 1 : 3;
    // One column is kept for the '=' of a soft line end.
    if (column + width > kQuotedLineOctets - 1) {
      out->append("=\r\n");
      column = 0;
    }
    if (literal) {
      out->push_back(c);
    } else {
      out->append(fmt::format("={:02X}", octet));
    }
    column += width;
  }
}

std::string Utf8AddrXtext(std::string_view address) {
  std::string out;
  while (!address.empty()) {
    const size_t octets = std::max<size_t>(1, Utf8SequenceOctets(address));
    const char c = address[0];
    const bool literal = octets == 1 && c > ' ' && c < 0x7f && c != '\\' && c != '+' && c != '=';
    if (literal) {
      out += c;
    } else {
      out += fmt::format("\\x{{{:02X}}}", CodePoint(address, octets));
    }
    address.remove_prefix(octets);
  }
  return out;
}

std::string DecodeUtf8Addr(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (const std::optional<uint32_t> value = TakeEmbedded(&text)) {
      AppendUtf8(&out, *value);
      continue;
    }
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

std::string DurationWords(absl::Duration duration) {
  static constexpr std::array<std::pair<std::string_view, int64_t>, 3> kUnits{
      {{"day", 24 * 60 * 60}, {"hour", 60 * 60}, {"minute", 60}}};
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  int64_t count = seconds;
  std::string_view unit = "second";
  for (const auto& [name, length] : kUnits) {
    if (seconds < length || seconds % length != 0) continue;
    count = seconds / length;
    unit = name;
    break;
  }
  return fmt::format("{} {}{}", count, unit, count == 1 ? "" : "s");
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
