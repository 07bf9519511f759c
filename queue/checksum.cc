#include "queue/checksum.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace mailrace::queue {
namespace {

// Slicing by four: table[n][b] is the remainder of octet b followed by n zero octets,
// so that four octets cost four look-ups that do not wait for each other.
using Tables = std::array<std::array<uint32_t, 256>, 4>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t octet = 0; octet < 256; ++octet) {
    uint32_t remainder = octet;
    for (int bit = 0; bit < 8; ++bit) {
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82F63B78u : 0u);
    }
    tables[0][octet] = remainder;
  }
  for (size_t n = 1; n < tables.size(); ++n) {
    for (size_t octet = 0; octet < 256; ++octet) {
      const uint32_t before = tables[n - 1][octet];
      tables[n][octet] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint32_t ByTables(std::string_view octets, uint32_t crc) {
  size_t at = 0;
  const auto octet = [&](size_t n) { return static_cast<uint8_t>(octets[n]); };
  for (; at + 4 <= octets.size(); at += 4) {
    crc ^= octet(at) | octet(at + 1) << 8 | octet(at + 2) << 16 |
           static_cast<uint32_t>(octet(at + 3)) << 24;
    crc = kTables[3][crc & 0xFF] ^ kTables[2][crc >> 8 & 0xFF] ^ kTables[1][crc >> 16 & 0xFF] ^
          kTables[0][crc >> 24];
  }
  for (; at < octets.size(); ++at) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ octet(at)) & 0xFF];
  }
  return crc;
}

#if defined(__x86_64__)
// The processor's own instruction: ten times as fast.
__attribute__((target("sse4.2"))) uint32_t ByProcessor(std::string_view octets, uint32_t crc) {
  uint64_t wide = crc;
  while (octets.size() >= 8) {
    uint64_t eight;
    std::memcpy(&eight, octets.data(), 8);
    wide = _mm_crc32_u64(wide, eight);
    octets.remove_prefix(8);
  }
  return ByTables(octets, static_cast<uint32_t>(wide));
}

const bool kHasInstruction = __builtin_cpu_supports("sse4.2");
#endif

}  // namespace

uint32_t Crc32c(std::string_view octets, uint32_t before) {
#if defined(__x86_64__)
  if (kHasInstruction) return ~ByProcessor(octets, ~before);
#endif
  return ~ByTables(octets, ~before);
}

}  // namespace mailrace::queue
