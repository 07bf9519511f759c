// What the disk must hold, followed commit by commit: the contract of the records
// (queue/write_set.h) as the store's log sees it. Knows nothing of how the engine decides.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "queue/store.h"
#include "queue/write_set.h"

namespace mailrace::sim {

class DiskModel {
 public:
  struct Message {
    queue::Envelope envelope;
    std::set<uint32_t> done;
    queue::RetryState retry;
    bool has_retry = false;
  };
  // A message came; a recipient is not owed any more.
  struct Witness {
    std::function<void(const queue::Envelope& envelope)> came;
    std::function<void(const Message& message, uint32_t recipient)> left;
    std::function<void(const Message& before, const queue::RetryState& after)> deferred;
  };
  using Group = std::span<const queue::WriteSet* const>;

  // One atomic, synced group. What is new in it is told first, so that a failure and the
  // notice about it are seen together. Breaches of the contract are appended to *wrong: a
  // record put twice (SingleDelete allows one), an outcome of a message that is gone, a
  // removal that leaves records behind.
  void Apply(Group group, const Witness& witness, std::vector<std::string>* wrong);

  const std::map<QueueId, Message>& messages() const { return messages_; }
  bool owes(QueueId id, uint32_t recipient) const;
  size_t records() const { return records_.size(); }

  // What was found of it; no message, no effect.
  void SetRetry(QueueId id, const queue::RetryState& retry);
  // As a start does: the bodies of intakes that were cut short are gone.
  void Restart();
  friend bool operator==(const DiskModel& a, const DiskModel& b) {
    return a.records_ == b.records_;
  }
  using Key = std::pair<queue::Family, std::string>;
  const std::set<Key>& keys() const { return records_; }

 private:
  void Put(const queue::WriteSet::Operation& operation, const Witness& witness,
           std::vector<std::string>* wrong);
  void PutDone(const queue::WriteSet::Operation& operation, const Witness& witness,
               std::vector<std::string>* wrong);
  void PutRetry(const queue::WriteSet::Operation& operation, const Witness& witness,
                std::vector<std::string>* wrong);
  void RemoveMessage(QueueId id, const Witness& witness);

  std::map<QueueId, Message> messages_;
  std::set<Key> records_;
};

}  // namespace mailrace::sim
