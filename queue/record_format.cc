#include "queue/record_format.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "queue/checksum.h"

// record    := version(1) content checksum(4)
// checksum  := little-endian CRC-32C of version and content
// version   := 1; of a retry record with attempts: 2
//
// envelope  := arrival flags(1) ret(1) priority(1) octets chunks
//              reverse_path envid message_id submitter tenant
//              count recipient*
// recipient := address orcpt notify(1)
// flags     := bit 0 smtputf8, bit 1 eight_bit
// retry     := next_attempt flags(1) attempts last_reason history
// flags     := bit 0 delay warning sent, bit 1 held
// history   := nothing in version 1; count attempt* in version 2, count > 0
// attempt   := at same(1) took klass(1) subject detail relay text
// same      := bit 0: relay as before and left out, bit 1: text likewise
// done      := final(1)
//
// arrival, next_attempt, at: little-endian 64-bit nanoseconds since 1970, signed; the
// extremes are the infinite past and future. took: milliseconds. Numbers: varint
// (7 bits an octet, least significant first, the high bit says that more follow,
// shortest form). Everything else is text: a varint length and that many octets.

namespace mailrace::queue {
namespace {

constexpr char kVersion = 1;
constexpr char kRetryVersionMax = 2;
constexpr size_t kChecksumOctets = 4;
constexpr size_t kRecipientOctetsMin = 3;

void PutFixed(uint64_t value, int octets, std::string* out) {
  for (int i = 0; i < octets; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void PutText(std::string_view text, std::string* out) {
  PutVarint(text.size(), out);
  out->append(text);
}

void PutTime(absl::Time time, std::string* out) {
  int64_t nanos = absl::ToUnixNanos(time);  // Saturates.
  if (time == absl::InfiniteFuture()) nanos = INT64_MAX;
  if (time == absl::InfinitePast()) nanos = INT64_MIN;
  PutFixed(static_cast<uint64_t>(nanos), 8, out);
}

uint64_t FixedAt(std::string_view octets, size_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(octets[at + i])) << (8 * i);
  }
  return value;
}

void Seal(std::string* record) { PutFixed(Crc32c(*record), kChecksumOctets, record); }

// Takes fields from the front. The first thing that is not there makes it fail for
// good, so that callers may check once.
class Reader {
 public:
  explicit Reader(std::string_view content) : rest_(content) {}

  uint8_t Octet() {
    if (rest_.empty()) return Fail();
    const auto octet = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return octet;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t octet = Octet();
      const uint64_t bits = octet & 0x7F;
      if ((shift == 63 && bits > 1) || (shift > 0 && octet == 0)) return Fail();
      value |= bits << shift;
      if ((octet & 0x80) == 0) return value;
    }
    return Fail();
  }
  uint64_t VarintUpTo(uint64_t max) {
    const uint64_t value = Varint();
    return value <= max ? value : Fail();
  }
  std::string Text(size_t octets_max = SIZE_MAX) {
    const uint64_t size = VarintUpTo(octets_max);
    if (size > rest_.size()) Fail();  // Of what is left after the length itself.
    if (failed_) return {};
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }
  absl::Time Time() {
    if (rest_.size() < 8) {
      Fail();
      return {};
    }
    const auto nanos = static_cast<int64_t>(FixedAt(rest_, 0, 8));
    rest_.remove_prefix(8);
    if (nanos == INT64_MAX) return absl::InfiniteFuture();
    if (nanos == INT64_MIN) return absl::InfinitePast();
    return absl::FromUnixNanos(nanos);
  }
  size_t left() const { return rest_.size(); }
  // Everything was there, and nothing else.
  bool Ended() const { return !failed_ && rest_.empty(); }
  bool failed() const { return failed_; }

 private:
  uint8_t Fail() {
    failed_ = true;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;
  bool failed_ = false;
};

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(fmt::format("{} record is damaged", what));
}

// The content between version and checksum.
absl::StatusOr<std::string_view> Open(std::string_view what, std::string_view record,
                                      char version_max = kVersion) {
  if (record.size() < 1 + kChecksumOctets) return Damaged(what);
  const size_t end = record.size() - kChecksumOctets;
  if (FixedAt(record, end, kChecksumOctets) != Crc32c(record.substr(0, end))) {
    return Damaged(what);
  }
  const auto version = static_cast<uint8_t>(record.front());
  if (version > version_max) {
    return absl::FailedPreconditionError(
        fmt::format("{} record has version {}, which a newer version of this program wrote; this "
                    "one knows versions up to {}",
                    what, version, int{version_max}));
  }
  if (version < kVersion) return Damaged(what);
  return record.substr(1, end - 1);
}

void PutHistory(const std::vector<Attempt>& history, std::string* out) {
  const size_t first = history.size() > kAttemptsKept ? history.size() - kAttemptsKept : 0;
  PutVarint(history.size() - first, out);
  std::string_view relay_before;
  std::string_view text_before;
  for (size_t i = first; i < history.size(); ++i) {
    const Attempt& attempt = history[i];
    const std::string_view relay =
        std::string_view(attempt.relay).substr(0, kAttemptRelayOctetsMax);
    const std::string_view text = std::string_view(attempt.text).substr(0, kAttemptTextOctetsMax);
    const bool same_relay = i > first && relay == relay_before;
    const bool same_text = i > first && text == text_before;
    PutTime(attempt.at, out);
    out->push_back(static_cast<char>((same_relay ? 1 : 0) | (same_text ? 2 : 0)));
    PutVarint(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Milliseconds(attempt.took))),
              out);
    out->push_back(static_cast<char>(attempt.status.klass));
    PutVarint(attempt.status.subject, out);
    PutVarint(attempt.status.detail, out);
    if (!same_relay) PutText(relay, out);
    if (!same_text) PutText(text, out);
    relay_before = relay;
    text_before = text;
  }
}

// False: not as PutHistory writes it.
bool TakeHistory(Reader* reader, std::vector<Attempt>* history) {
  constexpr uint64_t kMillisecondsMax = uint64_t{1} << 52;
  constexpr uint64_t kStatusPartMax = 999;  // RFC 3463 2: up to three digits.
  const uint64_t count = reader->VarintUpTo(kAttemptsKept);
  if (count == 0) return false;
  for (uint64_t i = 0; i < count && !reader->failed(); ++i) {
    Attempt attempt;
    attempt.at = reader->Time();
    const uint8_t same = reader->Octet();
    if (same > 3 || (i == 0 && same != 0)) return false;
    attempt.took = absl::Milliseconds(static_cast<int64_t>(reader->VarintUpTo(kMillisecondsMax)));
    attempt.status.klass = reader->Octet();
    attempt.status.subject = static_cast<uint16_t>(reader->VarintUpTo(kStatusPartMax));
    attempt.status.detail = static_cast<uint16_t>(reader->VarintUpTo(kStatusPartMax));
    attempt.relay = (same & 1) != 0 ? history->back().relay : reader->Text(kAttemptRelayOctetsMax);
    attempt.text = (same & 2) != 0 ? history->back().text : reader->Text(kAttemptTextOctetsMax);
    // One way to write a thing.
    if (i > 0 && (same & 1) == 0 && attempt.relay == history->back().relay) return false;
    if (i > 0 && (same & 2) == 0 && attempt.text == history->back().text) return false;
    history->push_back(std::move(attempt));
  }
  return !reader->failed();
}

void PutBigEndian(uint64_t value, int octets, std::string* out) {
  for (int i = octets - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t BigEndian(std::string_view octets) {
  uint64_t value = 0;
  for (const char octet : octets) value = value << 8 | static_cast<uint8_t>(octet);
  return value;
}

}  // namespace

std::string EncodeEnvelope(const Envelope& envelope) {
  std::string record;
  size_t estimate = 96 + envelope.reverse_path.size() + envelope.envid.size() +
                    envelope.message_id.size() + envelope.submitter.size() + envelope.tenant.size();
  for (const Recipient& recipient : envelope.recipients) {
    estimate += 8 + recipient.address.size() + recipient.orcpt.size();
  }
  record.reserve(estimate);
  record.push_back(kVersion);
  PutTime(envelope.arrival, &record);
  record.push_back(static_cast<char>((envelope.smtputf8 ? 1 : 0) | (envelope.eight_bit ? 2 : 0)));
  record.push_back(static_cast<char>(envelope.ret));
  record.push_back(static_cast<char>(envelope.priority));
  PutVarint(envelope.octets, &record);
  PutVarint(envelope.chunks, &record);
  PutText(envelope.reverse_path, &record);
  PutText(envelope.envid, &record);
  PutText(envelope.message_id, &record);
  PutText(envelope.submitter, &record);
  PutText(envelope.tenant, &record);
  PutVarint(envelope.recipients.size(), &record);
  for (const Recipient& recipient : envelope.recipients) {
    PutText(recipient.address, &record);
    PutText(recipient.orcpt, &record);
    record.push_back(static_cast<char>(recipient.notify));
  }
  Seal(&record);
  return record;
}

absl::StatusOr<Envelope> DecodeEnvelope(QueueId id, std::string_view record) {
  constexpr std::string_view kWhat = "message";
  const absl::StatusOr<std::string_view> content = Open(kWhat, record);
  if (!content.ok()) return content.status();
  Reader reader(*content);
  Envelope envelope;
  envelope.id = id;
  envelope.arrival = reader.Time();
  const uint8_t flags = reader.Octet();
  envelope.smtputf8 = (flags & 1) != 0;
  envelope.eight_bit = (flags & 2) != 0;
  const uint8_t ret = reader.Octet();
  if (flags > 3 || ret > static_cast<uint8_t>(Ret::kHeaders)) return Damaged(kWhat);
  envelope.ret = static_cast<Ret>(ret);
  envelope.priority = reader.Octet();
  envelope.octets = reader.Varint();
  envelope.chunks = static_cast<uint32_t>(reader.VarintUpTo(UINT32_MAX));
  envelope.reverse_path = reader.Text();
  envelope.envid = reader.Text();
  envelope.message_id = reader.Text();
  envelope.submitter = reader.Text();
  envelope.tenant = reader.Text();
  const uint64_t count = reader.Varint();
  // A count that the octets cannot hold would only reserve memory.
  if (reader.failed() || count > reader.left() / kRecipientOctetsMin) return Damaged(kWhat);
  envelope.recipients.reserve(count);
  for (uint64_t i = 0; i < count && !reader.failed(); ++i) {
    Recipient& recipient = envelope.recipients.emplace_back();
    recipient.address = reader.Text();
    recipient.orcpt = reader.Text();
    recipient.notify = reader.Octet();
  }
  if (!reader.Ended()) return Damaged(kWhat);
  return envelope;
}

std::string EncodeRetryState(const RetryState& state) {
  std::string record;
  record.reserve(32 + state.last_reason.size() + 64 * state.history.size());
  record.push_back(state.history.empty() ? kVersion : kRetryVersionMax);
  PutTime(state.next_attempt, &record);
  record.push_back(static_cast<char>((state.delay_warning_sent ? 1 : 0) | (state.held ? 2 : 0)));
  PutVarint(state.attempts, &record);
  PutText(std::string_view(state.last_reason).substr(0, kLastReasonOctetsMax), &record);
  if (!state.history.empty()) PutHistory(state.history, &record);
  Seal(&record);
  return record;
}

absl::StatusOr<RetryState> DecodeRetryState(std::string_view record) {
  constexpr std::string_view kWhat = "retry";
  const absl::StatusOr<std::string_view> content = Open(kWhat, record, kRetryVersionMax);
  if (!content.ok()) return content.status();
  Reader reader(*content);
  RetryState state;
  state.next_attempt = reader.Time();
  const uint8_t flags = reader.Octet();
  if (flags > 3) return Damaged(kWhat);
  state.delay_warning_sent = (flags & 1) != 0;
  state.held = (flags & 2) != 0;
  state.attempts = static_cast<uint32_t>(reader.VarintUpTo(UINT32_MAX));
  state.last_reason = reader.Text();
  if (record.front() == kRetryVersionMax && !TakeHistory(&reader, &state.history)) {
    return Damaged(kWhat);
  }
  if (!reader.Ended()) return Damaged(kWhat);
  return state;
}

std::string EncodeFinal(Final final) {
  std::string record;
  record.push_back(kVersion);
  record.push_back(static_cast<char>(final));
  Seal(&record);
  return record;
}

absl::StatusOr<Final> DecodeFinal(std::string_view record) {
  constexpr std::string_view kWhat = "done";
  const absl::StatusOr<std::string_view> content = Open(kWhat, record);
  if (!content.ok()) return content.status();
  Reader reader(*content);
  const uint8_t final = reader.Octet();
  if (!reader.Ended() || final < static_cast<uint8_t>(Final::kDelivered) ||
      final > static_cast<uint8_t>(Final::kExpired)) {
    return Damaged(kWhat);
  }
  return static_cast<Final>(final);
}

std::string EncodeKey(QueueId id) {
  std::string key;
  PutBigEndian(id.value, 8, &key);
  return key;
}

std::string EncodeKey(QueueId id, uint32_t index) {
  std::string key = EncodeKey(id);
  PutBigEndian(index, 4, &key);
  return key;
}

std::optional<QueueId> DecodeKey(std::string_view key) {
  if (key.size() != 8) return std::nullopt;
  return QueueId{BigEndian(key)};
}

std::optional<IndexedKey> DecodeIndexedKey(std::string_view key) {
  if (key.size() != 12) return std::nullopt;
  return IndexedKey{QueueId{BigEndian(key.substr(0, 8))},
                    static_cast<uint32_t>(BigEndian(key.substr(8)))};
}

}  // namespace mailrace::queue
