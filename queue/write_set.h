// Changes to the store that become durable together or not at all. Encoded on the
// shard that makes them, so that the commit thread only copies octets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/queue_id.h"
#include "queue/message.h"

namespace mailrace::queue {

// Record families; each is a column family of the RocksDB store. Keys are big-endian:
//   message  id(8)            -> version(1) envelope checksum(4)
//   body     id(8) chunk(4)   -> content octets
//   done     id(8) index(4)   -> version(1) final(1) checksum(4)
//   retry    id(8)            -> version(1) retry state checksum(4)
//   intake   id(8)            -> nothing: its body records came before its message does
// All but retry are written once and removed once (SingleDelete: a put and its removal
// that meet in one memtable vanish at flush); retry is overwritten (Delete).
//
// An intake record is what makes a start independent of the bodies: body records without
// a message are found by it, and by nothing else.
enum class Family : uint8_t { kMessage = 0, kBody = 1, kDone = 2, kRetry = 3, kIntake = 4 };
inline constexpr int kFamilies = 5;

class WriteSet {
 public:
  struct Operation {
    enum class Kind : uint8_t { kPut, kRemoveOnce, kRemove };
    Kind kind;
    Family family;
    std::string key;
    std::string value;  // Puts with octets == null.
    Octets octets;      // Puts of body content, shared.
  };

  void PutMessage(const Envelope& envelope);
  void PutChunk(QueueId id, uint32_t chunk, Octets content);
  // Body records will be committed before their message: with the first of them. Taken
  // back by CloseIntake in the set that has PutMessage, or by RemoveIntake.
  void OpenIntake(QueueId id);
  void CloseIntake(QueueId id);
  void PutDone(QueueId id, uint32_t recipient_index, Final final);
  void PutRetry(QueueId id, const RetryState& state);
  // Removes every record of a message: its body records 0..chunks-1, the done records
  // of `done_indices`, and its retry record if `has_retry`.
  void RemoveMessage(QueueId id, uint32_t chunks, const std::vector<uint32_t>& done_indices,
                     bool has_retry);
  // An intake that was opened is given up: its body records 0..chunks-1 go.
  void RemoveIntake(QueueId id, uint32_t chunks);
  void RemoveChunks(QueueId id, uint32_t chunks);

  bool empty() const { return operations_.empty(); }
  const std::vector<Operation>& operations() const { return operations_; }
  size_t octets() const { return octets_; }  // Keys and values, for group limits.

 private:
  void Add(Operation operation);
  std::vector<Operation> operations_;
  size_t octets_ = 0;
};

}  // namespace mailrace::queue
