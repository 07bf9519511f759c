// How envelopes, retry states and outcomes are written in the store. Pure functions of
// octets: any thread. The grammar stands above the code in record_format.cc; the first
// octet of each record is its version, the last four are its checksum.
//
// Decoding takes anything: a record that is damaged, cut or followed by more octets gives
// DataLoss, one of a newer version FailedPrecondition (it is whole: no loss that anybody
// accepts makes it readable), never a crash and never an allocation larger than a small
// multiple of the record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/queue_id.h"
#include "queue/message.h"

namespace mailrace::queue {

std::string EncodeEnvelope(const Envelope& envelope);
// `id` is the record's key.
absl::StatusOr<Envelope> DecodeEnvelope(QueueId id, std::string_view record);

std::string EncodeRetryState(const RetryState& state);
absl::StatusOr<RetryState> DecodeRetryState(std::string_view record);

std::string EncodeFinal(Final final);
absl::StatusOr<Final> DecodeFinal(std::string_view record);

// Keys sort as their numbers do: big-endian.
struct IndexedKey {
  QueueId id;
  uint32_t index = 0;  // Of the chunk or of the recipient.
  friend bool operator==(const IndexedKey&, const IndexedKey&) = default;
};
std::string EncodeKey(QueueId id);
std::string EncodeKey(QueueId id, uint32_t index);
// Nothing if `key` does not have that form.
std::optional<QueueId> DecodeKey(std::string_view key);
std::optional<IndexedKey> DecodeIndexedKey(std::string_view key);

}  // namespace mailrace::queue
