// What the fuzz targets share: taking decisions off the front of an input, and a check
// that ends the process, which is how libFuzzer learns of a finding.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

// Says which promise was broken, with a text that helps (a std::string).
#define FUZZ_CHECK(condition, detail)                                                   \
  do {                                                                                  \
    if (!(condition)) ::mailrace::fuzz::Broken(__FILE__, __LINE__, #condition, detail); \
  } while (false)

namespace mailrace::fuzz {

// Octets as C escapes, so that a report can be read.
inline std::string Escaped(std::string_view octets) {
  std::string out;
  for (const char c : octets) {
    char text[8];
    const auto octet = static_cast<unsigned char>(c);
    const bool plain = octet >= 0x20 && octet < 0x7f && c != '\\';
    std::snprintf(text, sizeof text, plain ? "%c" : "\\x%02x", octet);
    out += text;
  }
  return out;
}

[[noreturn]] inline void Broken(const char* file, int line, const char* condition,
                                const std::string& detail) {
  std::fprintf(stderr, "%s:%d: broken: %s\n  %s\n", file, line, condition, Escaped(detail).c_str());
  std::abort();
}

// The input, taken from the front. At its end everything is 0 or empty.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  uint8_t Octet() {
    if (rest_.empty()) return 0;
    const auto octet = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return octet;
  }
  uint64_t Number() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | Octet();
    return value;
  }
  bool Flag() { return (Octet() & 1) != 0; }
  // Up to the next `end_octet`, which is taken too: corpus files can be read as text.
  std::string Field(char end_octet) {
    const size_t end = std::min(rest_.find(end_octet), rest_.size());
    std::string field(rest_.substr(0, end));
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return field;
  }
  std::string Line() { return Field('\n'); }
  std::string_view Rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// Cuts `octets` into pieces whose sizes `seed` decides: 0 leaves it whole, 1 cuts it into
// single octets. No piece is empty.
inline std::vector<std::string_view> Pieces(std::string_view octets, uint8_t seed) {
  std::vector<std::string_view> pieces;
  uint32_t state = seed;
  while (!octets.empty()) {
    state = state * 1103515245 + 12345;
    size_t size = 1 + (state >> 16) % (size_t{1} << (seed % 8));
    if (seed == 0) size = octets.size();
    if (seed == 1) size = 1;
    size = std::min(size, octets.size());
    pieces.push_back(octets.substr(0, size));
    octets.remove_prefix(size);
  }
  return pieces;
}

inline bool HasControls(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return octet < 0x20 || octet == 0x7f;
  });
}

// Only CRLF ends lines: no CR or LF without the other.
inline bool OnlyCrlfLines(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return false;
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) return false;
  }
  return true;
}

// Of the longest line, without its CRLF.
inline size_t LongestLine(std::string_view text) {
  size_t longest = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find("\r\n"), text.size());
    longest = std::max(longest, end);
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return longest;
}

}  // namespace mailrace::fuzz
