#include "base/random.h"

#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mailrace {

uint64_t Random::Next64() {
  uint64_t value = 0;
  Fill({reinterpret_cast<uint8_t*>(&value), sizeof value});
  return value;
}

uint8_t Random::NextByte() {
  uint8_t value = 0;
  Fill({&value, 1});
  return value;
}

uint64_t Random::Below(uint64_t bound) {
  // Rejection keeps it uniform: values above the last whole multiple are drawn again.
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value = Next64();
  while (value >= limit) value = Next64();
  return value % bound;
}

void SystemRandom::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      std::perror("mailrace: getrandom");  // An impossible result: no safe way on.
      std::abort();
    }
    out = out.subspan(static_cast<size_t>(n));
  }
}

SeededRandom::SeededRandom(uint64_t seed) {
  // splitmix64 spreads the seed, as the authors of xoshiro advise.
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t SeededRandom::Step() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

void SeededRandom::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const uint64_t word = Step();
    const size_t n = out.size() < sizeof word ? out.size() : sizeof word;
    std::memcpy(out.data(), &word, n);
    out = out.subspan(n);
  }
}

}  // namespace mailrace
