// A stopped queue, looked at without changing anything, and as far as it can be read when
// it is damaged: for `mailrace queue --offline`. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/logger.h"
#include "queue/store.h"

namespace mailrace::queue {

class OfflineQueue {
 public:
  virtual ~OfflineQueue() = default;

  // What was found to be wrong with the files when it was opened: logs cut or flipped,
  // acknowledged records missing. Empty: a start would accept them.
  virtual const std::vector<std::string>& damage() const = 0;

  // All messages in ascending order of id. Where tables cannot be read it goes on behind
  // the gap; what is known of the gaps is returned, one text each.
  using Visitor = std::function<void(QueueId id, absl::StatusOr<RecoveredMessage>)>;
  virtual std::vector<std::string> ForEach(const Visitor& visit) = 0;

  // As Store's.
  virtual absl::StatusOr<RecoveredMessage> ReadMessage(QueueId id) = 0;
  virtual absl::StatusOr<std::string> ReadChunk(QueueId id, uint32_t chunk) = 0;

  struct Report {
    uint64_t messages = 0;
    uint64_t recipients_owed = 0;
    uint64_t held = 0;
    uint64_t deferred = 0;  // Tried before.
    uint64_t content_records = 0;
    uint64_t content_octets = 0;
    // Of no message: rests of intakes that a crash cut short, or of messages that are
    // gone. The next start removes them; no damage.
    uint64_t orphans = 0;
    uint64_t damaged_messages = 0;      // Envelope, outcome or retry record.
    uint64_t incomplete_messages = 0;   // Content missing, unreadable or not of its size.
    std::vector<std::string> problems;  // The first kProblemsMax, one line each.
    uint64_t problems_left_out = 0;
    bool sound() const { return problems.empty(); }
  };
  static constexpr size_t kProblemsMax = 1000;
  // Reads every record and its checksum; every body is there and of the stated size.
  virtual Report Verify() = 0;
};

// FailedPrecondition: an instance uses it. NotFound: there is none. DataLoss: not even a
// part of it can be read. `logger` is borrowed and may be null.
absl::StatusOr<std::unique_ptr<OfflineQueue>> OpenOfflineQueue(const std::string& directory,
                                                               Logger* logger);

}  // namespace mailrace::queue
