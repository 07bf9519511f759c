#include "engine/flight_journal.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "queue/checksum.h"

namespace mailrace::engine {

namespace {

// Octets as this machine has them: who reads the file is the machine that wrote it.
constexpr char kMagic[8] = {'M', 'R', 'F', 'L', 'I', 'G', 'H', 'T'};
constexpr size_t kBitmapOctets = 40;
constexpr size_t kNamedMax = kBitmapOctets * 8;  // Recipients of a slot known by number.

enum State : uint32_t { kFree = 0, kFilled = 1, kCarried = 2 };

struct Header {
  char magic[8];
  uint32_t format;  // At this place in every format.
  uint32_t slots;
  uint8_t boot[16];
  uint32_t checksum;  // Of all that stands before.
  uint32_t reserved;
  uint64_t unnamed_recipients;
  uint8_t padding[16];
};

struct Slot {
  uint32_t state;
  uint32_t checksum;  // Of all that follows.
  uint64_t id;
  uint32_t first;  // The number that bit 0 stands for.
  uint32_t count;  // Of recipients, also of those beyond the bitmap.
  uint8_t bitmap[kBitmapOctets];
};

static_assert(sizeof(Header) == 64 && sizeof(Slot) == 64);

uint32_t ChecksumOf(const Header& header) {
  return queue::Crc32c({reinterpret_cast<const char*>(&header), offsetof(Header, checksum)});
}

uint32_t ChecksumOf(const Slot& slot) {
  constexpr size_t kBegin = offsetof(Slot, id);
  return queue::Crc32c({reinterpret_cast<const char*>(&slot) + kBegin, sizeof(Slot) - kBegin});
}

Header* HeaderOf(std::span<char> region) { return reinterpret_cast<Header*>(region.data()); }

// `slot`: from 1; the header stands in the place of number 0.
Slot* SlotOf(std::span<char> region, uint32_t slot) {
  return reinterpret_cast<Slot*>(region.data() + slot * sizeof(Slot));
}

FlightRecord::Flight Decode(const Slot& slot) {
  FlightRecord::Flight flight{QueueId{slot.id}, {}, 0};
  for (uint32_t bit = 0; bit < kNamedMax; ++bit) {
    if ((slot.bitmap[bit / 8] >> (bit % 8) & 1) != 0) flight.recipients.push_back(slot.first + bit);
  }
  flight.more = slot.count - static_cast<uint32_t>(flight.recipients.size());
  return flight;
}

}  // namespace

FlightJournal::FlightJournal(std::span<char> region, const BootId& boot) : region_(region) {
  std::memset(region_.data(), 0, kOctets);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.format = kFormat;
  header.slots = kSlots;
  std::copy(boot.begin(), boot.end(), header.boot);
  header.checksum = ChecksumOf(header);
  std::memcpy(region_.data(), &header, sizeof(header));
  free_.reserve(kSlots);
  for (uint32_t slot = kSlots; slot > 0; --slot) free_.push_back(slot);
}

FlightMark FlightJournal::Write(uint32_t state, QueueId id, std::span<const uint32_t> recipients) {
  const auto count = static_cast<uint32_t>(recipients.size());
  if (free_.empty()) {
    HeaderOf(region_)->unnamed_recipients += count;
    return {0, count};
  }
  Slot slot{};
  slot.state = state;
  slot.id = id.value;
  slot.first = recipients.front();
  slot.count = count;
  for (const uint32_t recipient : recipients) {
    const uint32_t bit = recipient - slot.first;
    if (bit >= kNamedMax) break;
    slot.bitmap[bit / 8] = static_cast<uint8_t>(slot.bitmap[bit / 8] | 1 << (bit % 8));
  }
  slot.checksum = ChecksumOf(slot);
  const FlightMark mark{free_.back(), count};
  free_.pop_back();
  // A process that dies within this line has not sent the end of data yet.
  std::memcpy(SlotOf(region_, mark.slot), &slot, sizeof(slot));
  return mark;
}

FlightMark FlightJournal::Fill(QueueId id, std::span<const uint32_t> recipients) {
  if (recipients.empty()) return {};
  recipients_ += recipients.size();
  return Write(kFilled, id, recipients);
}

void FlightJournal::Clear(FlightMark mark) {
  if (mark.recipients == 0) return;
  recipients_ -= mark.recipients;
  if (mark.slot == 0) {
    HeaderOf(region_)->unnamed_recipients -= mark.recipients;
    return;
  }
  SlotOf(region_, mark.slot)->state = kFree;
  free_.push_back(mark.slot);
}

void FlightJournal::Carry(QueueId id, std::span<const uint32_t> recipients) {
  while (!recipients.empty()) {
    // As many as one slot can name.
    size_t named = 1;
    while (named < recipients.size() && recipients[named] - recipients.front() < kNamedMax) {
      ++named;
    }
    const FlightMark mark = Write(kCarried, id, recipients.first(named));
    carried_[id].push_back(mark);
    recipients = recipients.subspan(named);
  }
}

void FlightJournal::Forget(QueueId id) {
  if (carried_.empty()) return;
  const auto found = carried_.find(id);
  if (found == carried_.end()) return;
  for (const FlightMark& mark : found->second) {
    recipients_ += mark.recipients;  // Clear() takes them off again: they were not in.
    Clear(mark);
  }
  carried_.erase(found);
}

uint64_t FlightJournal::unnamed_recipients() const { return HeaderOf(region_)->unnamed_recipients; }

absl::StatusOr<FlightRecord> ReadFlights(std::string_view region) {
  Header header;
  if (region.size() < sizeof(header)) return absl::DataLossError("is cut short");
  std::memcpy(&header, region.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) {
    return absl::DataLossError("is not a flight journal");
  }
  if (header.format > FlightJournal::kFormat) {
    return absl::FailedPreconditionError(
        fmt::format("the flight journal has format {}, which a newer version wrote; this program "
                    "knows formats up to {}",
                    header.format, FlightJournal::kFormat));
  }
  if (header.format == 0 || header.checksum != ChecksumOf(header) ||
      region.size() != sizeof(Slot) * (size_t{header.slots} + 1)) {
    return absl::DataLossError("is damaged");
  }
  FlightRecord record;
  std::copy(std::begin(header.boot), std::end(header.boot), record.boot.begin());
  record.unnamed_recipients = header.unnamed_recipients;
  for (size_t at = sizeof(Slot); at < region.size(); at += sizeof(Slot)) {
    Slot slot;
    std::memcpy(&slot, region.data() + at, sizeof(slot));
    if (slot.state == kFree) continue;
    if (slot.checksum != ChecksumOf(slot)) {
      ++record.damaged_slots;
    } else {
      record.flights.push_back(Decode(slot));
    }
  }
  return record;
}

}  // namespace mailrace::engine
