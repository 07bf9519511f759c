// Names, addresses and durations of the simulated world.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/random.h"
#include "base/socket_address.h"
#include "fmt/format.h"

namespace mailrace::sim {

// maximal_queue_lifetime and bounce_queue_lifetime.
inline constexpr absl::Duration kWorldLifetime = absl::Hours(10);

// Domains with a server; the next number's does not exist.
inline constexpr uint64_t kWorldDomains = 4;

inline std::string DomainName(uint64_t i) { return fmt::format("d{}.test", i); }
inline SocketAddress DomainAddress(uint64_t i) {
  return {*IpAddress::Parse(fmt::format("192.0.2.{}", 10 + i)), 25};
}

// How far somebody sets the clock: an hour or ten years, either way, within this century.
absl::Duration DrawJump(Random* random, absl::Time wall);

}  // namespace mailrace::sim
