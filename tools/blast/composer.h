// The messages of a run: envelope addresses and content, made from the sequence number
// alone, so that a message sent again is the same message.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/buffer.h"
#include "tools/blast/options.h"
#include "tools/blast/pattern.h"

namespace mailrace::blast {

class Composer {
 public:
  // `started` is in every Date header.
  static absl::StatusOr<Composer> Make(const BlastOptions& options, absl::Time started);

  // RUN-SEQ: the value of X-Mailrace-Id and what the ledger says.
  std::string Id(uint64_t sequence) const;
  std::string Sender(uint64_t sequence) const;
  std::string Recipient(uint64_t sequence, uint32_t index) const;
  // The whole DATA content with its final dot. No line of it begins with a dot. Returns
  // its octets without that dot.
  size_t AppendContent(uint64_t sequence, Buffer* out) const;

 private:
  Composer(const BlastOptions& options, absl::Time started, Pattern sender, Pattern recipient);

  std::string run_;
  std::string date_;
  Pattern sender_;
  Pattern recipient_;
  uint64_t size_octets_;
  std::string body_;  // As long as the longest message needs.
};

}  // namespace mailrace::blast
