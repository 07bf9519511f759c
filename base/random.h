// Unpredictable and predictable octets, behind one interface (invariant I7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mailrace {

class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;

  uint64_t Next64();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  uint8_t NextByte();
};

// getrandom(2): fit for nonces and boundaries. Thread-safe.
class SystemRandom final : public Random {
 public:
  void Fill(std::span<uint8_t> out) override;
};

// xoshiro256** from a seed: the same seed gives the same octets for ever.
// For simulations and jitter, never for secrets. Not thread-safe.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed);
  void Fill(std::span<uint8_t> out) override;

 private:
  uint64_t Step();
  uint64_t state_[4];
};

}  // namespace mailrace
