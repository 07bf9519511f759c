// Which recipients a relay may have accepted without our knowing it for good: a slot for
// each transaction, filled before its end of data may reach the wire, cleared once its
// outcome is durable (invariant I3). What is filled when a process dies is the exact list
// of possible duplicates.
//
// The slots are in a region of memory that outlives the process: a mapped file
// (engine/flight_file.h), or a string of which a simulation takes a copy at its crash. A slot costs
// two cache lines and no system call. Lives on one shard; never blocks and never refuses:
// when all slots are filled, transactions are still counted, only not named.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/queue_id.h"

namespace mailrace::engine {

// What one boot of the machine is called: /proc/sys/kernel/random/boot_id.
using BootId = std::array<uint8_t, 16>;

// Whoever holds one must Clear() it, or leave it for the next start to read.
struct FlightMark {
  uint32_t slot = 0;        // From 1; 0: counted without a slot.
  uint32_t recipients = 0;  // 0: no mark.
};

class FlightJournal {
 public:
  // The format that this program writes, and the newest that it reads.
  static constexpr uint32_t kFormat = 1;
  // Transactions that are named. A shard has as many under way as it has sessions, twice or,
  // where content is streamed, a window each (smtp_bdat_window), and those whose outcome is
  // within a commit interval.
  static constexpr size_t kSlots = 4096;
  static constexpr size_t kOctets = 64 * (kSlots + 1);

  // Makes `region` an empty journal. Borrowed; REQUIRES: kOctets, aligned to 8.
  FlightJournal(std::span<char> region, const BootId& boot);
  FlightJournal(const FlightJournal&) = delete;
  FlightJournal& operator=(const FlightJournal&) = delete;

  // The end of data for `recipients` of `id` (their numbers in its envelope, ascending) is
  // about to be sent.
  FlightMark Fill(QueueId id, std::span<const uint32_t> recipients);
  // The outcome is durable, or the relay said that it did not take the message.
  void Clear(FlightMark mark);

  // A recipient that was listed by an earlier process and is still owed stays listed until
  // Forget(id): two crashes in a row must not hide what the first one left.
  void Carry(QueueId id, std::span<const uint32_t> recipients);
  // The message is gone.
  void Forget(QueueId id);

  // In flight now, those carried over not included: the bound K of this shard.
  uint64_t recipients() const { return recipients_; }
  // Of these, in transactions that are counted and not named.
  uint64_t unnamed_recipients() const;
  // Nothing is listed, carried or in flight: an orderly end may remove the journal.
  bool empty() const { return recipients_ == 0 && carried_.empty(); }

 private:
  FlightMark Write(uint32_t state, QueueId id, std::span<const uint32_t> recipients);

  const std::span<char> region_;
  std::vector<uint32_t> free_;  // The one used last is used next: few pages get dirty.
  absl::flat_hash_map<QueueId, std::vector<FlightMark>> carried_;
  uint64_t recipients_ = 0;
};

// What a region says.
struct FlightRecord {
  BootId boot{};
  struct Flight {
    QueueId id;
    std::vector<uint32_t> recipients;  // Those known by number, ascending.
    uint32_t more = 0;                 // How many beside these.
  };
  std::vector<Flight> flights;      // In the order of the slots.
  uint64_t unnamed_recipients = 0;  // Of transactions that found no slot.
  uint64_t damaged_slots = 0;       // Half written when the power went.
};

// DataLoss: no journal, or its header is damaged. FailedPrecondition: a newer format.
absl::StatusOr<FlightRecord> ReadFlights(std::string_view region);

}  // namespace mailrace::engine
