// Stored records: any octets are either refused or exactly what encoding would give;
// what is encoded comes back; one changed or missing octet is noticed.
//
// Input: what to do, then a record without version and checksum, a whole record, or the
// fields of an envelope, one a line.
#include "queue/record_format.h"

#include "fuzz_input.h"
#include "queue/checksum.h"

namespace mailrace::queue {
namespace {

constexpr QueueId kId{0x123456789abcdef};

// Damaged, or of a version to come.
bool IsRefusal(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
}

void CheckDecoding(std::string_view record) {
  const std::string shown(record);
  const absl::StatusOr<Envelope> envelope = DecodeEnvelope(kId, record);
  FUZZ_CHECK(envelope.ok() || IsRefusal(envelope.status()), shown);
  if (envelope.ok()) {
    FUZZ_CHECK(envelope->id == kId, shown);
    FUZZ_CHECK(envelope->recipients.size() <= record.size() / 3, shown);
    FUZZ_CHECK(EncodeEnvelope(*envelope) == record, shown);
  }
  const absl::StatusOr<RetryState> state = DecodeRetryState(record);
  FUZZ_CHECK(state.ok() || IsRefusal(state.status()), shown);
  if (state.ok() && state->last_reason.size() <= kLastReasonOctetsMax) {
    FUZZ_CHECK(EncodeRetryState(*state) == record, shown);
  }
  const absl::StatusOr<Final> final = DecodeFinal(record);
  FUZZ_CHECK(final.ok() || IsRefusal(final.status()), shown);
  if (final.ok()) FUZZ_CHECK(EncodeFinal(*final) == record, shown);
}

void CheckKeys(std::string_view key) {
  if (const auto id = DecodeKey(key)) FUZZ_CHECK(EncodeKey(*id) == key, std::string(key));
  if (const auto indexed = DecodeIndexedKey(key)) {
    FUZZ_CHECK(EncodeKey(indexed->id, indexed->index) == key, std::string(key));
  }
}

absl::Time TakeTime(fuzz::FuzzInput* input) {
  const uint64_t number = input->Number();
  const auto nanos = static_cast<int64_t>(number);
  // The extremes stand for the infinite past and future.
  if (nanos == INT64_MIN || nanos == 0) return absl::InfinitePast();
  if (nanos == INT64_MAX || nanos == 1) return absl::InfiniteFuture();
  return absl::FromUnixNanos(nanos);
}

Envelope TakeEnvelope(fuzz::FuzzInput* input) {
  Envelope envelope;
  envelope.id = kId;
  envelope.arrival = TakeTime(input);
  envelope.smtputf8 = input->Flag();
  envelope.eight_bit = input->Flag();
  envelope.ret = static_cast<Ret>(input->Octet() % 3);
  envelope.priority = input->Octet();
  envelope.octets = input->Number();
  envelope.chunks = static_cast<uint32_t>(input->Number());
  envelope.reverse_path = input->Line();
  envelope.envid = input->Line();
  envelope.message_id = input->Line();
  envelope.submitter = input->Line();
  envelope.tenant = input->Line();
  while (!input->empty()) {
    Recipient& recipient = envelope.recipients.emplace_back();
    recipient.notify = input->Octet();
    recipient.address = input->Line();
    recipient.orcpt = input->Line();
  }
  return envelope;
}

void CheckDamageIsNoticed(const std::string& record, uint64_t where) {
  std::string damaged = record;
  damaged[where % record.size()] ^= static_cast<char>(1 << (where >> 32) % 8);
  FUZZ_CHECK(!DecodeEnvelope(kId, damaged).ok(), record);
  const std::string_view cut = std::string_view(record).substr(0, where % record.size());
  FUZZ_CHECK(!DecodeEnvelope(kId, cut).ok(), record);
  FUZZ_CHECK(!DecodeEnvelope(kId, record + '\0').ok(), record);
}

void CheckEnvelope(fuzz::FuzzInput* input) {
  const uint64_t where = input->Number();
  const Envelope envelope = TakeEnvelope(input);
  const std::string record = EncodeEnvelope(envelope);
  const absl::StatusOr<Envelope> back = DecodeEnvelope(kId, record);
  FUZZ_CHECK(back.ok(), record);
  FUZZ_CHECK(back->arrival == envelope.arrival, record);
  FUZZ_CHECK(back->reverse_path == envelope.reverse_path, record);
  FUZZ_CHECK(back->envid == envelope.envid && back->ret == envelope.ret, record);
  FUZZ_CHECK(back->smtputf8 == envelope.smtputf8, record);
  FUZZ_CHECK(back->eight_bit == envelope.eight_bit, record);
  FUZZ_CHECK(back->octets == envelope.octets && back->chunks == envelope.chunks, record);
  FUZZ_CHECK(back->message_id == envelope.message_id, record);
  FUZZ_CHECK(back->submitter == envelope.submitter && back->tenant == envelope.tenant, record);
  FUZZ_CHECK(back->priority == envelope.priority, record);
  FUZZ_CHECK(back->recipients.size() == envelope.recipients.size(), record);
  for (size_t i = 0; i < envelope.recipients.size(); ++i) {
    FUZZ_CHECK(back->recipients[i].address == envelope.recipients[i].address, record);
    FUZZ_CHECK(back->recipients[i].orcpt == envelope.recipients[i].orcpt, record);
    FUZZ_CHECK(back->recipients[i].notify == envelope.recipients[i].notify, record);
  }
  CheckDamageIsNoticed(record, where);
}

void CheckRetryState(fuzz::FuzzInput* input) {
  RetryState state;
  state.next_attempt = TakeTime(input);
  state.attempts = static_cast<uint32_t>(input->Number());
  state.delay_warning_sent = input->Flag();
  state.held = input->Flag();
  for (uint8_t attempts = input->Octet() % 24; attempts > 0; --attempts) {
    Attempt attempt;
    attempt.at = TakeTime(input);
    attempt.took = absl::Milliseconds(input->Octet());
    attempt.status.subject = input->Octet();
    attempt.relay = input->Line();
    attempt.text = input->Line();
    state.Note(std::move(attempt));
  }
  state.last_reason = input->Rest();
  const absl::StatusOr<RetryState> back = DecodeRetryState(EncodeRetryState(state));
  FUZZ_CHECK(back.ok(), state.last_reason);
  FUZZ_CHECK(back->next_attempt == state.next_attempt, state.last_reason);
  FUZZ_CHECK(back->attempts == state.attempts && back->held == state.held, state.last_reason);
  FUZZ_CHECK(back->delay_warning_sent == state.delay_warning_sent, state.last_reason);
  FUZZ_CHECK(back->history == state.history, state.last_reason);
  FUZZ_CHECK(back->last_reason == state.last_reason.substr(0, kLastReasonOctetsMax),
             state.last_reason);
}

// The checksum is put right, so that the fields behind it are reached.
std::string Sealed(std::string_view content, char version) {
  std::string record(1, version);
  record += content;
  const uint32_t checksum = Crc32c(record);
  for (int shift = 0; shift < 32; shift += 8) record += static_cast<char>(checksum >> shift);
  return record;
}

}  // namespace
}  // namespace mailrace::queue

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mailrace::queue;  // NOLINT: one function.
  mailrace::fuzz::FuzzInput input(data, size);
  switch (input.Octet() % 4) {
    case 0:
      CheckDecoding(input.Rest());
      CheckKeys(input.Rest());
      break;
    case 1:
      CheckDecoding(Sealed(input.Rest(), 1));
      CheckDecoding(Sealed(input.Rest(), 2));
      break;
    case 2:
      CheckEnvelope(&input);
      break;
    default:
      CheckRetryState(&input);
  }
  return 0;
}
