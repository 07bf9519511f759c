// Destinations that an operator suspended, kept over restarts in QUEUE_DIRECTORY/suspended:
// a few lines of JSON, for people too. Blocking file work: the main thread at start, the
// thread that reads the store afterwards.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::engine {

struct Suspension {
  std::string nexthop;  // As routing names it: "[relay.example]:587", "example.com".
  std::string reason;
  absl::Time since;
  friend bool operator==(const Suspension&, const Suspension&) = default;
};

inline constexpr size_t kSuspensionsMax = 10'000;

std::string SuspensionsPath(std::string_view queue_directory);
// Pure: what is in the file. DataLoss: damaged, or of a newer version.
std::string FormatSuspensions(const std::vector<Suspension>& suspensions);
absl::StatusOr<std::vector<Suspension>> ParseSuspensions(std::string_view text);

// None if there is no file. An error names the file: starting without what it says would
// send mail that an operator stopped.
absl::StatusOr<std::vector<Suspension>> LoadSuspensions(const std::string& queue_directory);
// Atomic and durable: a new file, synced, renamed over the old one, the directory synced.
absl::Status SaveSuspensions(const std::string& queue_directory,
                             const std::vector<Suspension>& suspensions);

}  // namespace mailrace::engine
