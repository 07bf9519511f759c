// The oracle: what was acknowledged, and what became of it. Knows nothing of how the
// engine works; reads the disk, the relays' books and the log (reliability.md 5.4).
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/logger.h"
#include "queue/memory_store.h"
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
    absl::Time arrival;
    bool acknowledged = false;
  };

  // REQUIRES: the tag in every address.
  void Offered(const std::string& tag, Message message) { messages_[tag] = std::move(message); }
  void Acknowledged(const std::string& tag) { messages_[tag].acknowledged = true; }

  // Mail to it fails without a server's word: no such domain.
  void NobodyServes(const std::string& domain) { unserved_.insert(domain); }

  // A group was taken by the store: notices of failure in it are remembered.
  void Committed(std::span<const queue::WriteSet* const> group, queue::Store* store);
  // What a starting engine finds on the disk.
  void Found(const queue::RecoveredMessage& message, queue::Store* store);

  // The host crashed; `found` is what its disk holds. Whoever was delivered but is still
  // owed may be delivered once more. `since`: no outcome needs longer to be durable.
  void Crashed(const std::vector<queue::RecoveredMessage>& found, const RelayBook& book,
               absl::Time now, absl::Duration since);

  // Every breach of the promises, in words. `expired`: mail may be old enough to have been
  // given up.
  std::vector<std::string> Audit(const std::vector<queue::RecoveredMessage>& queue,
                                 const RelayBook& book, absl::Time now,
                                 absl::Duration lifetime) const;

  size_t acknowledged() const;
  size_t recipients() const;
  uint64_t uncertain() const { return uncertain_lines_; }
  size_t notices() const { return notices_.size(); }
  const std::vector<std::string>& lines() const { return lines_; }

  // --- Logger: counts who was reported as uncertain. ---
  void Log(Severity severity, std::string_view service, std::string line) override;

 private:
  struct Delivered {
    size_t times = 0;
    absl::Time last;
  };
  static std::string TagOf(std::string_view address);
  void Remember(const queue::Envelope& envelope, queue::Store* store);
  std::map<std::string, Delivered> DeliveredTo(const RelayBook& book) const;
  void AuditContents(const RelayBook& book, std::vector<std::string>* wrong) const;
  void AuditDuplicates(const RelayBook& book, std::vector<std::string>* wrong) const;

  std::map<std::string, Message> messages_;           // By tag.
  std::map<std::string, size_t> may_repeat_;          // Recipient: further deliveries allowed.
  std::map<QueueId, std::set<std::string>> notices_;  // Who each durable notice reports.
  std::map<std::string, size_t> reported_;            // Recipient: in how many notices.
  std::map<QueueId, std::string> notice_recipients_;  // Whom it is for.
  std::set<std::string> unserved_;
  std::vector<std::string> breaches_;  // Seen on the way.
  std::vector<std::string> lines_;
  uint64_t uncertain_lines_ = 0;
};

}  // namespace mailrace::sim
