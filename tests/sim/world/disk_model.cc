#include "tests/sim/world/disk_model.h"

#include "fmt/format.h"
#include "queue/record_format.h"

namespace mailrace::sim {

using queue::Family;
using queue::WriteSet;

namespace {

using Kind = WriteSet::Operation::Kind;

QueueId IdOf(std::string_view key) { return *queue::DecodeKey(key.substr(0, 8)); }

const char* NameOf(Family family) {
  switch (family) {
    case Family::kMessage:
      return "message";
    case Family::kBody:
      return "body";
    case Family::kDone:
      return "done";
    case Family::kRetry:
      return "retry";
    case Family::kIntake:
      return "intake";
  }
  return "?";
}

}  // namespace

bool DiskModel::owes(QueueId id, uint32_t recipient) const {
  const auto it = messages_.find(id);
  return it != messages_.end() && !it->second.done.contains(recipient);
}

void DiskModel::Apply(Group group, const Witness& witness, std::vector<std::string>* wrong) {
  const auto is_news = [](const WriteSet::Operation& operation) {
    return operation.kind == Kind::kPut &&
           (operation.family == Family::kMessage || operation.family == Family::kBody ||
            operation.family == Family::kIntake);
  };
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      if (is_news(operation)) Put(operation, witness, wrong);
    }
  }
  std::set<QueueId> removed;
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      if (is_news(operation)) continue;
      if (operation.kind == Kind::kPut) {
        Put(operation, witness, wrong);
        continue;
      }
      records_.erase({operation.family, operation.key});
      if (operation.family != Family::kMessage) continue;
      removed.insert(IdOf(operation.key));
      RemoveMessage(IdOf(operation.key), witness);
    }
  }
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      if (operation.kind != Kind::kPut || operation.family != Family::kBody) continue;
      const QueueId id = IdOf(operation.key);
      if (!records_.contains({Family::kBody, operation.key}) || messages_.contains(id) ||
          records_.contains({Family::kIntake, queue::EncodeKey(id)})) {
        continue;
      }
      wrong->push_back(fmt::format("{}: a body that no start would remove", id.ToString()));
    }
  }
  for (const QueueId id : removed) {
    for (const Family family : {Family::kBody, Family::kDone, Family::kRetry}) {
      const auto left = records_.lower_bound({family, queue::EncodeKey(id)});
      if (left == records_.end() || left->first != family || IdOf(left->second) != id) continue;
      wrong->push_back(
          fmt::format("{}: removed, its {} record stays", id.ToString(), NameOf(family)));
    }
  }
}

void DiskModel::Put(const WriteSet::Operation& operation, const Witness& witness,
                    std::vector<std::string>* wrong) {
  const QueueId id = IdOf(operation.key);
  const bool fresh = records_.insert({operation.family, operation.key}).second;
  if (!fresh && operation.family != Family::kRetry) {
    wrong->push_back(
        fmt::format("{}: its {} record is written twice", id.ToString(), NameOf(operation.family)));
  }
  if (operation.family == Family::kDone) PutDone(operation, witness, wrong);
  if (operation.family == Family::kRetry) PutRetry(operation, witness, wrong);
  if (operation.family != Family::kMessage) return;
  const absl::StatusOr<queue::Envelope> envelope = queue::DecodeEnvelope(id, operation.value);
  if (!envelope.ok()) {
    wrong->push_back(fmt::format("{}: unreadable envelope", id.ToString()));
    return;
  }
  messages_[id].envelope = *envelope;
  if (witness.came != nullptr) witness.came(*envelope);
}

void DiskModel::PutDone(const WriteSet::Operation& operation, const Witness& witness,
                        std::vector<std::string>* wrong) {
  const queue::IndexedKey key = *queue::DecodeIndexedKey(operation.key);
  const auto it = messages_.find(key.id);
  if (it == messages_.end() || key.index >= it->second.envelope.recipients.size()) {
    wrong->push_back(fmt::format("{}: an outcome of nobody", key.id.ToString()));
    return;
  }
  if (!it->second.done.contains(key.index) && witness.left != nullptr) {
    witness.left(it->second, key.index);
  }
  it->second.done.insert(key.index);
}

void DiskModel::PutRetry(const WriteSet::Operation& operation, const Witness& witness,
                         std::vector<std::string>* wrong) {
  const QueueId id = IdOf(operation.key);
  const auto it = messages_.find(id);
  const absl::StatusOr<queue::RetryState> retry = queue::DecodeRetryState(operation.value);
  if (it == messages_.end() || !retry.ok()) {
    wrong->push_back(fmt::format("{}: a retry of nothing", id.ToString()));
    return;
  }
  if (witness.deferred != nullptr) witness.deferred(it->second, *retry);
  it->second.retry = *retry;
  it->second.has_retry = true;
}

void DiskModel::RemoveMessage(QueueId id, const Witness& witness) {
  const auto it = messages_.find(id);
  if (it == messages_.end()) return;
  for (uint32_t i = 0; i < it->second.envelope.recipients.size(); ++i) {
    if (!it->second.done.contains(i) && witness.left != nullptr) witness.left(it->second, i);
  }
  messages_.erase(it);
}

void DiskModel::SetRetry(QueueId id, const queue::RetryState& retry) {
  const auto it = messages_.find(id);
  if (it == messages_.end()) return;
  it->second.retry = retry;
  it->second.has_retry = true;
}

void DiskModel::Restart() {
  std::erase_if(records_, [this](const Key& key) {
    const QueueId id = IdOf(key.second);
    return key.first == Family::kBody && !messages_.contains(id) &&
           records_.contains({Family::kIntake, queue::EncodeKey(id)});
  });
  std::erase_if(records_, [](const Key& key) { return key.first == Family::kIntake; });
}

}  // namespace mailrace::sim
