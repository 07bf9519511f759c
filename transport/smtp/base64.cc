#include "transport/smtp/base64.h"

#include <array>
#include <cstdint>

namespace mailrace::transport::smtp {

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr int8_t kNone = -1;

constexpr std::array<int8_t, 256> MakeValues() {
  std::array<int8_t, 256> values{};
  for (int8_t& value : values) value = kNone;
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return values;
}
constexpr std::array<int8_t, 256> kValues = MakeValues();

uint32_t OctetAt(std::string_view octets, size_t i) {
  return i < octets.size() ? static_cast<unsigned char>(octets[i]) : 0;
}

}  // namespace

std::string EncodeBase64(std::string_view octets) {
  std::string out;
  out.reserve((octets.size() + 2) / 3 * 4);
  for (size_t i = 0; i < octets.size(); i += 3) {
    const uint32_t group =
        OctetAt(octets, i) << 16 | OctetAt(octets, i + 1) << 8 | OctetAt(octets, i + 2);
    out += kAlphabet[group >> 18];
    out += kAlphabet[group >> 12 & 63];
    out += i + 1 < octets.size() ? kAlphabet[group >> 6 & 63] : '=';
    out += i + 2 < octets.size() ? kAlphabet[group & 63] : '=';
  }
  return out;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const std::string_view quad = text.substr(i, 4);
    size_t padding = 0;
    if (i + 4 == text.size()) {
      if (quad[3] == '=') padding = quad[2] == '=' ? 2 : 1;
    }
    uint32_t group = 0;
    for (size_t j = 0; j < 4; ++j) {
      const int8_t value = j >= 4 - padding ? 0 : kValues[static_cast<unsigned char>(quad[j])];
      if (value == kNone) return std::nullopt;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    // Bits behind the last octet must be zero, or two texts would mean the same.
    const uint32_t unused = padding == 2 ? 0xffff : padding == 1 ? 0xff : 0;
    if ((group & unused) != 0) return std::nullopt;
    out += static_cast<char>(group >> 16);
    if (padding < 2) out += static_cast<char>(group >> 8);
    if (padding < 1) out += static_cast<char>(group);
  }
  return out;
}

}  // namespace mailrace::transport::smtp
