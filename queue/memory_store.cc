#include "queue/memory_store.h"

#include <algorithm>
#include <string_view>

#include "fmt/format.h"
#include "queue/record_format.h"

namespace mailrace::queue {
namespace {

using Records = std::map<std::pair<Family, std::string>, std::string>;

absl::Status Refused() {
  return absl::DataLossError("the store stopped after a failed sync; restart the process");
}

// The id that a key of any family begins with.
QueueId IdOf(std::string_view key) { return *DecodeKey(key.substr(0, 8)); }

absl::StatusOr<RecoveredMessage> Join(const Records& records, QueueId id,
                                      std::string_view envelope) {
  RecoveredMessage message;
  absl::StatusOr<Envelope> decoded = DecodeEnvelope(id, envelope);
  if (!decoded.ok()) return decoded.status();
  message.envelope = *std::move(decoded);
  for (auto done = records.lower_bound({Family::kDone, EncodeKey(id)});
       done != records.end() && done->first.first == Family::kDone &&
       IdOf(done->first.second) == id;
       ++done) {
    const absl::StatusOr<Final> final = DecodeFinal(done->second);
    if (!final.ok()) return final.status();
    message.done_indices.push_back(DecodeIndexedKey(done->first.second)->index);
    message.done_finals.push_back(*final);
  }
  const auto retry = records.find({Family::kRetry, EncodeKey(id)});
  if (retry != records.end()) {
    absl::StatusOr<RetryState> state = DecodeRetryState(retry->second);
    if (!state.ok()) return state.status();
    message.has_retry = true;
    message.retry = *std::move(state);
  }
  return message;
}

}  // namespace

void MemoryStore::Apply(std::span<const WriteSet* const> group, Records* records) {
  for (const WriteSet* set : group) {
    for (const WriteSet::Operation& operation : set->operations()) {
      std::pair<Family, std::string> key(operation.family, operation.key);
      if (operation.kind != WriteSet::Operation::Kind::kPut) {
        records->erase(key);
        continue;
      }
      highest_id_ = std::max(highest_id_, IdOf(operation.key).value + 1);
      records->insert_or_assign(std::move(key),
                                operation.octets != nullptr ? *operation.octets : operation.value);
    }
  }
}

absl::Status MemoryStore::Commit(std::span<const WriteSet* const> group) {
  const std::lock_guard lock(mutex_);
  if (dead_) return Refused();
  if (failures_ > 0) {
    --failures_;
    if (!absl::IsDataLoss(failure_)) return failure_;
    dead_ = true;
    // The log has the octets although the sync was refused: a next start finds them.
    if (failure_survives_) {
      CatchUp();
      Apply(group, &synced_);
    }
    return failure_;
  }
  Apply(group, &current_);
  ++stats_.commits;
  for (const WriteSet* set : group) stats_.octets_written += set->octets();
  if (sync_is_ignored_) {
    behind_ = true;
    return absl::OkStatus();
  }
  if (behind_) {
    CatchUp();
  } else {
    Apply(group, &synced_);
  }
  return absl::OkStatus();
}

void MemoryStore::CatchUp() {
  if (!behind_) return;
  synced_ = current_;
  behind_ = false;
}

absl::StatusOr<std::string> MemoryStore::ReadChunk(QueueId id, uint32_t chunk) {
  const std::lock_guard lock(mutex_);
  if (dead_) return Refused();
  const auto record = current_.find({Family::kBody, EncodeKey(id, chunk)});
  if (record == current_.end()) {
    return absl::NotFoundError(fmt::format("{}: body record {} is missing", id.ToString(), chunk));
  }
  return record->second;
}

absl::StatusOr<RecoveredMessage> MemoryStore::ReadMessage(QueueId id) {
  const std::lock_guard lock(mutex_);
  if (dead_) return Refused();
  const auto record = current_.find({Family::kMessage, EncodeKey(id)});
  if (record == current_.end()) {
    return absl::NotFoundError(fmt::format("{}: no such message", id.ToString()));
  }
  return Join(current_, id, record->second);
}

absl::StatusOr<std::optional<QueueId>> MemoryStore::Scan(QueueId from, size_t limit,
                                                         const ScanVisitor& visit) {
  std::vector<std::pair<QueueId, absl::StatusOr<RecoveredMessage>>> found;
  std::optional<QueueId> next;
  {
    const std::lock_guard lock(mutex_);
    if (dead_) return Refused();
    for (auto record = current_.lower_bound({Family::kMessage, EncodeKey(from)});
         record != current_.end() && record->first.first == Family::kMessage; ++record) {
      const QueueId id = IdOf(record->first.second);
      if (found.size() == limit) {
        next = id;
        break;
      }
      found.emplace_back(id, Join(current_, id, record->second));
    }
  }
  // Without the lock: `visit` may read the store.
  for (auto& [id, message] : found) visit(id, std::move(message));
  return next;
}

absl::Status MemoryStore::Recover(const std::function<void(RecoveredMessage)>& found) {
  std::vector<RecoveredMessage> messages;
  {
    const std::lock_guard lock(mutex_);
    if (dead_) return Refused();
    const auto owned = [&](QueueId id) {
      return current_.contains({Family::kMessage, EncodeKey(id)});
    };
    // Bodies as on the disk: only those are gone that an open intake tells of.
    std::erase_if(current_, [&](const Records::value_type& record) {
      const QueueId id = IdOf(record.first.second);
      if (record.first.first != Family::kBody) return false;
      return !owned(id) && current_.contains({Family::kIntake, EncodeKey(id)});
    });
    std::erase_if(current_, [&](const Records::value_type& record) {
      const Family family = record.first.first;
      if (family == Family::kIntake) return true;
      return family != Family::kBody && !owned(IdOf(record.first.second));
    });
    synced_ = current_;
    behind_ = false;
    for (auto record = current_.lower_bound({Family::kMessage, std::string()});
         record != current_.end() && record->first.first == Family::kMessage; ++record) {
      absl::StatusOr<RecoveredMessage> message =
          Join(current_, IdOf(record->first.second), record->second);
      if (!message.ok()) return message.status();
      messages.push_back(*std::move(message));
    }
  }
  // Without the lock: `found` may read the store.
  for (RecoveredMessage& message : messages) found(std::move(message));
  return absl::OkStatus();
}

uint64_t MemoryStore::highest_id() const {
  const std::lock_guard lock(mutex_);
  return highest_id_;
}

Store::Stats MemoryStore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void MemoryStore::set_free_octets(uint64_t octets) {
  const std::lock_guard lock(mutex_);
  stats_.free_octets = octets;
}

void MemoryStore::set_sync_is_ignored(bool ignored) {
  const std::lock_guard lock(mutex_);
  sync_is_ignored_ = ignored;
}

void MemoryStore::FailCommits(int count, absl::Status status, bool survives) {
  const std::lock_guard lock(mutex_);
  failures_ = count;
  failure_ = std::move(status);
  failure_survives_ = survives;
}

std::set<std::pair<Family, std::string>> MemoryStore::Keys() const {
  const std::lock_guard lock(mutex_);
  std::set<std::pair<Family, std::string>> keys;
  for (const auto& [key, value] : current_) keys.insert(key);
  return keys;
}

void MemoryStore::Crash() {
  const std::lock_guard lock(mutex_);
  current_ = synced_;
  behind_ = false;
  dead_ = false;
  failures_ = 0;
}

}  // namespace mailrace::queue
