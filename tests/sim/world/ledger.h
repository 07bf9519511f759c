// The oracle: what was acknowledged, and what became of it. Knows nothing of how the
// engine works; reads what is committed, the relays' books and the log (reliability.md
// 5.4). Judges each commit when it is made: a recipient may leave the disk only if a relay
// has it, or a notice about it is on the disk, or nobody may be told.
//
// Its time is the true one, which no operator can set: the hosts' monotonic clock, which
// goes on over crashes.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/logger.h"
#include "queue/memory_store.h"
#include "queue/retry_schedule.h"
#include "tests/sim/world/disk_model.h"
#include "tests/sim/world/flight_list.h"
#include "tests/sim/world/sim_relay.h"

namespace mailrace::sim {

// Addresses name the message they belong to: "r<number>.<tag>@<domain>" are recipients,
// "s.<tag>@app.test" is its sender. Every tag is used for one submission only.
class Ledger final : public Logger {
 public:
  struct Message {
    std::string reverse_path;  // Empty: "<>".
    std::vector<std::string> recipients;
    bool never = false;  // NOTIFY=NEVER for all of them.
    std::string content;
    bool traced = false;  // By SMTP: a Received field comes in front of the content.
    MonoTime arrival;
    bool acknowledged = false;
  };

  // `book` is borrowed. `schedule` has the lifetimes that no mail may be given up before.
  Ledger(const RelayBook* book, queue::RetrySchedule schedule);

  // REQUIRES: the tag in every address.
  void Offered(const std::string& tag, Message message) { messages_[tag] = std::move(message); }
  void Acknowledged(const std::string& tag) { messages_[tag].acknowledged = true; }

  // Mail to it fails without a server's word: no such domain.
  void NobodyServes(const std::string& domain) { unserved_.insert(domain); }
  // An operator deletes it: nobody needs to be told.
  void Removed(QueueId id) { removed_.insert(id); }
  // The clock was wrong by this over a restart: ages may be believed to be so much more.
  void ClockError(absl::Duration error) { age_error_ += absl::AbsDuration(error); }

  // The time and its wall clock, which may be wrong; `steady`: it was neither set lately,
  // nor did the disk refuse anything.
  void SetNow(MonoTime now, absl::Time wall, bool steady) {
    now_ = now;
    wall_ = wall;
    steady_ = steady;
  }

  // A group was taken by the store.
  void Committed(DiskModel::Group group, queue::Store* store);
  // The sync of a group failed: a next start finds all of it or nothing.
  void Doubtful(DiskModel::Group group);

  // The host crashed and came back with `disk`. Whoever was delivered but is still owed
  // may be delivered once more, but only those that the engine had listed. `since`: no
  // outcome needs longer to be durable.
  void Crashed(queue::MemoryStore* disk, const FlightList& listed, absl::Duration since);

  // Every breach of the promises so far, in words.
  std::vector<std::string> Audit();
  bool broken() const { return !breaches_.empty(); }
  // What may not be there when all mail has ended.
  std::vector<std::string> AuditEmpty() const;

  size_t acknowledged() const;
  size_t recipients() const;
  uint64_t uncertain() const { return uncertain_lines_; }
  size_t notices() const { return notices_.size(); }
  size_t explained_at_crashes() const { return explained_at_crashes_; }
  size_t lost() const { return lost_; }
  const DiskModel& disk() const { return disk_; }
  const std::vector<std::string>& lines() const { return lines_; }
  void set_keeps_lines(bool keeps) { keeps_lines_ = keeps; }

  // What the world did, for who reads a life's log.
  void Tell(std::string_view event) { Keep("sim", event); }

  // --- Logger: counts who was reported as uncertain, and tries. ---
  void Log(Severity severity, std::string_view service, std::string line) override;

 private:
  struct Notice {
    std::set<std::string> reported;  // Whose failure.
    std::string to;
    MonoTime born;
  };
  static std::string TagOf(std::string_view address);
  // Into the log, with the time in seconds.
  void Keep(std::string_view service, std::string_view line);
  DiskModel::Witness MakeWitness(queue::Store* store);
  void Came(const queue::Envelope& envelope, queue::Store* store);
  void Left(const DiskModel::Message& message, uint32_t recipient);
  void Deferred(const DiskModel::Message& before, const queue::RetryState& after);
  bool OldEnough(MonoTime arrival) const {
    return now_ - arrival >= schedule_.lifetime - age_error_;
  }
  bool MayFail(const Message& message, const std::string& to) const;
  void Lost(const std::string& to, std::string_view how);
  void CompareDisk(queue::MemoryStore* disk);
  void AuditDeliveries();
  void AuditAcknowledged();

  const RelayBook* const book_;
  const queue::RetrySchedule schedule_;
  std::map<std::string, Message> messages_;  // By tag.
  DiskModel disk_;
  std::vector<queue::WriteSet> doubtful_;
  std::map<std::string, size_t> may_repeat_;  // Recipient: further deliveries allowed.
  std::map<QueueId, Notice> notices_;
  std::set<std::string> reported_;         // Whose failure is in a notice.
  std::map<std::string, uint32_t> tries_;  // By queue id: log lines that say "deferred".
  std::set<std::string> unserved_;
  std::set<QueueId> removed_;      // By an operator.
  std::set<std::string> deleted_;  // Tags of those of them that left the disk.
  std::set<std::string> said_;     // Breaches, each once.
  std::vector<std::string> breaches_;
  std::vector<std::string> lines_;
  size_t deliveries_audited_ = 0;
  size_t violations_audited_ = 0;
  uint64_t uncertain_lines_ = 0;
  size_t explained_at_crashes_ = 0;
  size_t lost_ = 0;
  absl::Duration age_error_;
  MonoTime now_;
  absl::Time wall_;
  bool steady_ = false;
  bool keeps_lines_ = true;
};

}  // namespace mailrace::sim
