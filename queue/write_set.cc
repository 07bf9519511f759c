#include "queue/write_set.h"

#include <utility>

#include "queue/record_format.h"

namespace mailrace::queue {

// Keys of 8 and 12 octets and done records fit into a std::string without an
// allocation; an intake's set costs two: the operations and the envelope.

void WriteSet::Add(Operation operation) {
  octets_ += operation.key.size() + operation.value.size();
  if (operation.octets != nullptr) octets_ += operation.octets->size();
  operations_.push_back(std::move(operation));
}

void WriteSet::PutMessage(const Envelope& envelope) {
  operations_.reserve(operations_.size() + 2);  // Its body follows or came before.
  Add({Operation::Kind::kPut, Family::kMessage, EncodeKey(envelope.id), EncodeEnvelope(envelope),
       nullptr});
}

void WriteSet::PutChunk(QueueId id, uint32_t chunk, Octets content) {
  Add({Operation::Kind::kPut, Family::kBody, EncodeKey(id, chunk), {}, std::move(content)});
}

void WriteSet::OpenIntake(QueueId id) {
  Add({Operation::Kind::kPut, Family::kIntake, EncodeKey(id), {}, nullptr});
}

void WriteSet::CloseIntake(QueueId id) {
  Add({Operation::Kind::kRemoveOnce, Family::kIntake, EncodeKey(id), {}, nullptr});
}

void WriteSet::PutDone(QueueId id, uint32_t recipient_index, Final final) {
  Add({Operation::Kind::kPut, Family::kDone, EncodeKey(id, recipient_index), EncodeFinal(final),
       nullptr});
}

void WriteSet::PutRetry(QueueId id, const RetryState& state) {
  Add({Operation::Kind::kPut, Family::kRetry, EncodeKey(id), EncodeRetryState(state), nullptr});
}

void WriteSet::RemoveMessage(QueueId id, uint32_t chunks, const std::vector<uint32_t>& done_indices,
                             bool has_retry) {
  operations_.reserve(operations_.size() + 1 + chunks + done_indices.size() + (has_retry ? 1 : 0));
  Add({Operation::Kind::kRemoveOnce, Family::kMessage, EncodeKey(id), {}, nullptr});
  RemoveChunks(id, chunks);
  for (const uint32_t index : done_indices) {
    Add({Operation::Kind::kRemoveOnce, Family::kDone, EncodeKey(id, index), {}, nullptr});
  }
  if (has_retry) Add({Operation::Kind::kRemove, Family::kRetry, EncodeKey(id), {}, nullptr});
}

void WriteSet::RemoveIntake(QueueId id, uint32_t chunks) {
  RemoveChunks(id, chunks);
  CloseIntake(id);
}

void WriteSet::RemoveChunks(QueueId id, uint32_t chunks) {
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    Add({Operation::Kind::kRemoveOnce, Family::kBody, EncodeKey(id, chunk), {}, nullptr});
  }
}

}  // namespace mailrace::queue
