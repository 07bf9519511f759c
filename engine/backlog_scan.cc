#include "engine/backlog_scan.h"

#include <algorithm>

namespace mailrace::engine {

namespace {

constexpr size_t kRecordsAtOnce = 256;

class Slice {
 public:
  explicit Slice(const BacklogScan& scan) : scan_(scan), wishes_(scan.wishes) {}

  void Look(QueueId id, const absl::StatusOr<queue::RecoveredMessage>& message) {
    if (id > scan_.wishes.to || !scan_.share.Owns(id)) return;
    if (!message.ok()) {
      finds_.damaged.emplace_back(id, message.status());
      return;
    }
    jobs_.clear();
    AppendJobs(*message, *scan_.settings, &jobs_);
    for (RecoveredJob& job : jobs_) Consider(&job);
  }

  BacklogFinds TakeFinds() { return std::move(finds_); }
  size_t found() const { return finds_.jobs.size(); }

 private:
  void Consider(RecoveredJob* job) {
    if (scan_.everything) {
      finds_.jobs.push_back(std::move(*job));
      return;
    }
    BacklogWishes::Line* const line = wishes_.Find(job->nexthop);
    if (line == nullptr || job->held || job->id < line->from) return;
    if (!line->all_due) {
      if (scan_.settings->delivery_deferred) return;
      const absl::Duration wait = job->next_attempt - scan_.now;
      // A wait that no schedule gives is a clock that was set: it is due as well.
      if (wait > absl::ZeroDuration() && wait <= scan_.settings->retry.maximal_backoff) {
        finds_.later[absl::ToInt64Minutes(wait)].Include(job->id);
        return;
      }
    }
    if (line->room == 0) {
      Refuse(*job);
      return;
    }
    --line->room;
    finds_.jobs.push_back(std::move(*job));
  }

  void Refuse(const RecoveredJob& job) {
    const auto known = std::find_if(finds_.refused.begin(), finds_.refused.end(),
                                    [&](const auto& entry) { return entry.first == job.nexthop; });
    if (known == finds_.refused.end()) finds_.refused.emplace_back(job.nexthop, job.id);
  }

  const BacklogScan& scan_;
  BacklogWishes wishes_;
  std::vector<RecoveredJob> jobs_;
  BacklogFinds finds_;
};

}  // namespace

absl::StatusOr<BacklogFinds> RunScan(queue::Store* store, const BacklogScan& scan) {
  Slice slice(scan);
  std::optional<QueueId> next = scan.wishes.from;
  for (size_t records = 0; records < BacklogScan::kRecordsMax; records += kRecordsAtOnce) {
    const absl::StatusOr<std::optional<QueueId>> read = store->Scan(
        *next, kRecordsAtOnce, [&slice](QueueId id, absl::StatusOr<queue::RecoveredMessage> found) {
          slice.Look(id, found);
        });
    if (!read.ok()) return read.status();
    next = *read;
    if (!next || *next > scan.wishes.to || slice.found() >= BacklogScan::kFindsMax) break;
  }
  BacklogFinds finds = slice.TakeFinds();
  finds.next = next;
  return finds;
}

}  // namespace mailrace::engine
