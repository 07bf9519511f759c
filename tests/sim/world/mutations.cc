#include "tests/sim/world/mutations.h"

#include <map>
#include <set>
#include <vector>

#include "queue/record_format.h"

namespace mailrace::sim {

using queue::Family;
using queue::WriteSet;

namespace {

using Kind = WriteSet::Operation::Kind;

QueueId IdOf(std::string_view key) { return *queue::DecodeKey(key.substr(0, 8)); }

// A change that nobody waits for.
class Sabotage final : public queue::CommitRequest {
 public:
  explicit Sabotage(queue::CommitSink* sink) : CommitRequest(sink) {}
  void Done() override { delete this; }
};

// Removals are told record by record, and made message by message.
struct Removal {
  bool message = false;
  uint32_t chunks = 0;
  std::vector<uint32_t> done;
  bool retry = false;
};

}  // namespace

std::optional<WriteSet> WithoutOutcomes(const WriteSet& set) {
  for (const WriteSet::Operation& operation : set.operations()) {
    const bool outcome = operation.kind == Kind::kPut ? operation.family == Family::kDone
                                                      : operation.family == Family::kMessage;
    if (outcome) return WriteSet();
  }
  return std::nullopt;
}

std::optional<WriteSet> WithoutNotices(const WriteSet& set) {
  std::set<QueueId> notices;
  bool others = false;
  for (const WriteSet::Operation& operation : set.operations()) {
    if (operation.kind == Kind::kPut && operation.family == Family::kMessage) {
      notices.insert(IdOf(operation.key));
    }
  }
  WriteSet kept;
  std::map<QueueId, Removal> removals;
  for (const WriteSet::Operation& operation : set.operations()) {
    const QueueId id = IdOf(operation.key);
    if (notices.contains(id)) continue;
    others = true;
    Removal& removal = removals[id];
    switch (operation.family) {
      case Family::kMessage:
        removal.message = true;
        break;
      case Family::kBody:
        ++removal.chunks;
        break;
      case Family::kDone: {
        const uint32_t index = queue::DecodeIndexedKey(operation.key)->index;
        if (operation.kind == Kind::kPut) {
          kept.PutDone(id, index, *queue::DecodeFinal(operation.value));
        } else {
          removal.done.push_back(index);
        }
        break;
      }
      case Family::kIntake:
        break;
      case Family::kRetry:
        if (operation.kind == Kind::kPut) {
          kept.PutRetry(id, *queue::DecodeRetryState(operation.value));
        } else {
          removal.retry = true;
        }
    }
  }
  // Only where there is a failure beside it: else it is the message of an application.
  if (notices.empty() || !others) return std::nullopt;
  for (const auto& [id, removal] : removals) {
    if (removal.message) kept.RemoveMessage(id, removal.chunks, removal.done, removal.retry);
  }
  return kept;
}

void RemoveOneInFlight(SimHost* host, const DiskModel& disk) {
  for (int i = 0; i < host->shards(); ++i) {
    std::set<QueueId> in_flight;
    host->shard(i).scheduler().ForEach([&in_flight](const queue::Job& job) {
      if (job.state == queue::Job::State::kInFlight) in_flight.insert(job.id);
    });
    for (const QueueId id : in_flight) {
      const auto it = disk.messages().find(id);
      if (it == disk.messages().end()) continue;
      auto* request = new Sabotage(host->shard(i).context().commit_sink);
      const std::vector<uint32_t> done(it->second.done.begin(), it->second.done.end());
      request->writes.RemoveMessage(id, it->second.envelope.chunks, done, it->second.has_retry);
      host->committer().Submit(request);
      return;
    }
  }
}

}  // namespace mailrace::sim
