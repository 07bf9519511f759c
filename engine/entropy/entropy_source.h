// tls_random_source: where octets of entropy come from. A source lives on the entropy
// thread and blocks it, at most for its time limit.
//
//   source = "dev:" path   a device, kept open, read again at each reseed
//          | "egd:" path   an EGD or PRNGD socket
//          | path          a regular file, read once and then forgotten
//          | ""            none
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mailrace::entropy {

// One read from a device or an EGD server gives at most this much (its count is an octet).
inline constexpr size_t kReadOctetsMax = 255;

enum class SourceKind { kNone, kDevice, kEgd, kFile };

struct SourceName {
  SourceKind kind = SourceKind::kNone;
  std::string path;

  static SourceName Parse(std::string_view tls_random_source);
};

class EntropySource {
 public:
  virtual ~EntropySource() = default;
  // 1..octets octets; a device and an EGD server give at most kReadOctetsMax of them.
  // REQUIRES: octets > 0. An error's message is the reason alone, as strerror(3) says it,
  // or for EGD servers Postfix's whole line.
  virtual absl::StatusOr<std::string> Read(size_t octets) = 0;
};

// Opens a source; the error's message is strerror(3)'s. `time_limit` holds for a whole
// Read. A cancelled read ends early: `cancel_fd` becomes readable then (-1: never). It
// outlives the source. REQUIRES: name.kind is not kNone.
absl::StatusOr<std::unique_ptr<EntropySource>> OpenSource(const SourceName& name,
                                                          absl::Duration time_limit, int cancel_fd);

}  // namespace mailrace::entropy
